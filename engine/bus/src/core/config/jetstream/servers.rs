//! URLs of NATS servers, and the credentials in them.

use std::fmt;
use std::path::PathBuf;

use tapeline_reader::ConfigError;

use crate::core::percent;

/// The way in which the adapter authenticates itself. `Debug` prints none of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    Password { user: String, password: String },
    Token(String),
    File(PathBuf),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Token(_) => "Token",
            Self::File(_) => "File",
        })
    }
}

impl Credentials {
    /// The texts that no message may show.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Password { user, password } => vec![password, user],
            Self::Token(token) => vec![token],
            Self::File(_) => Vec::new(),
        }
    }
}

/// The URLs without credentials.
///
/// # Errors
/// [`ConfigError::InvalidValue`], which quotes no URL: it may hold a password.
pub(super) fn servers(urls: &str) -> Result<Vec<String>, ConfigError> {
    urls.split(',').map(|url| Parts::of(url).map(|parts| format!("{}://{}", parts.scheme, parts.host))).collect()
}

/// The credentials in the URLs.
///
/// # Errors
/// [`ConfigError::InvalidValue`].
pub(super) fn credentials(urls: &str) -> Result<Option<Credentials>, ConfigError> {
    let mut found: Option<Credentials> = None;
    for url in urls.split(',') {
        let Some(user_info) = Parts::of(url)?.user_info.filter(|user_info| !user_info.is_empty()) else { continue };
        let credentials = match user_info.split_once(':') {
            Some((user, password)) => Credentials::Password { user: decoded(user)?, password: decoded(password)? },
            None => Credentials::Token(decoded(user_info)?),
        };
        if found.as_ref().is_some_and(|first| *first != credentials) {
            return Err(invalid("the URLs have different credentials; give all servers the same"));
        }
        found = Some(credentials);
    }
    Ok(found)
}

struct Parts<'u> {
    scheme: &'u str,
    user_info: Option<&'u str>,
    host: &'u str,
}

impl<'u> Parts<'u> {
    fn of(url: &'u str) -> Result<Self, ConfigError> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
        let (user_info, host) = match rest.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info), host),
            None => (None, rest),
        };
        let host = host.strip_suffix('/').unwrap_or(host);
        // The host may be an IPv6 address in brackets.
        let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
        let is_host = !host.is_empty() && !host.contains(['/', '?', '#', ' ']) && has_port;
        if !["nats", "tls"].contains(&scheme) || !is_host {
            return Err(invalid("a URL is none of nats://HOST[:PORT] and tls://HOST[:PORT]"));
        }
        Ok(Self { scheme, user_info, host })
    }
}

/// # Errors
/// [`ConfigError::InvalidValue`].
fn decoded(text: &str) -> Result<String, ConfigError> {
    percent::decoded(text).ok_or_else(|| invalid("the credentials in a URL are not percent-encoded UTF-8"))
}

fn invalid(message: &str) -> ConfigError {
    ConfigError::InvalidValue(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart() {
        let urls = "nats://us%40er:p%3Ass@host:4222, [::1]:4223 ,tls://us%40er:p%3Ass@other";
        assert_eq!(servers(urls).expect("URLs"), ["nats://host:4222", "nats://[::1]:4223", "tls://other"]);
        let password = Credentials::Password { user: "us@er".into(), password: "p:ss".into() };
        assert_eq!(credentials(urls).expect("credentials"), Some(password));
        assert_eq!(credentials("nats://t%4Fken@h").expect("a token"), Some(Credentials::Token("tOken".into())));
        assert_eq!(credentials("nats://h,h").expect("none"), None);
        for broken in ["nats://a:b@h,nats://a:c@h", "nats://%4@h", "nats://%FF@h", "nats://%+1@h", "ws://h", "h:99999"]
        {
            assert!(credentials(broken).is_err(), "{broken}");
        }
    }
}
