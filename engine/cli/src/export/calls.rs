//! Tool calls that come in pieces: pieces of one id are one call.

use serde_json::{Map, Value, json};

/// The calls of a stream.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Ids of the calls so far; their number is the call's index.
    ids: Vec<String>,
    /// The calls whose pieces have not been sent, by index.
    open: Vec<(usize, Call)>,
}

#[derive(Debug, Default)]
struct Call {
    name: Option<String>,
    arguments: String,
}

impl Calls {
    /// Takes a piece: of a JSON object its id, name and arguments, else all of it as arguments. `unnamed` is the id
    /// of a call that has none.
    pub(super) fn add(&mut self, text: &str, unnamed: impl FnOnce() -> String) {
        let object: Option<Map<String, Value>> = serde_json::from_str(text).ok();
        let field = |name: &str| {
            let object = object.as_ref()?;
            object.get(name).or_else(|| object.get("function")?.get(name)).filter(|value| !value.is_null())
        };
        let string = |name: &str| field(name).and_then(Value::as_str).map(str::to_owned);
        let (id, name) = (string("id"), string("name"));
        let arguments = match field("arguments") {
            Some(Value::String(arguments)) => arguments.clone(),
            Some(arguments) => arguments.to_string(),
            None if id.is_some() || name.is_some() => String::new(),
            None => text.to_owned(),
        };
        let call = self.call(id.unwrap_or_else(unnamed));
        call.name = call.name.take().or(name);
        call.arguments.push_str(&arguments);
    }

    fn call(&mut self, id: String) -> &mut Call {
        let index = self.ids.iter().position(|known| *known == id).unwrap_or_else(|| {
            self.ids.push(id);
            self.ids.len() - 1
        });
        let at = self.open.iter().position(|(open, _)| *open == index).unwrap_or_else(|| {
            self.open.push((index, Call::default()));
            self.open.len() - 1
        });
        &mut self.open[at].1
    }

    /// True if the stream has called a tool.
    pub(super) fn any(&self) -> bool {
        !self.ids.is_empty()
    }

    /// The deltas of the calls that have not been sent.
    pub(super) fn take(&mut self) -> Vec<Value> {
        let delta = |(index, call): (usize, Call)| {
            let name = call.name.unwrap_or_else(|| "unknown".to_owned());
            json!({
                "index": index,
                "id": self.ids[index],
                "type": "function",
                "function": { "name": name, "arguments": call.arguments },
            })
        };
        std::mem::take(&mut self.open).into_iter().map(delta).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_one_id_are_one_call() {
        let mut calls = Calls::default();
        calls.add(r#"{"id":"a","name":"look","arguments":"{\"q\":"}"#, || "0".into());
        calls.add(r#"{"id":"b","function":{"name":"go","arguments":{"x":1}}}"#, || "1".into());
        calls.add(r#"{"id":"a","arguments":"1}"}"#, || "2".into());
        calls.add("just text", || "3".into());
        let deltas = calls.take();
        assert_eq!(deltas.len(), 3);
        assert_eq!((&deltas[0]["index"], &deltas[0]["id"]), (&0.into(), &"a".into()));
        assert_eq!(deltas[0]["function"], json!({ "name": "look", "arguments": "{\"q\":1}" }));
        assert_eq!(deltas[1]["function"], json!({ "name": "go", "arguments": "{\"x\":1}" }));
        assert_eq!(deltas[2]["function"], json!({ "name": "unknown", "arguments": "just text" }));
        assert_eq!(deltas[2]["id"], "3");
        calls.add(r#"{"id":"b","arguments":"more"}"#, || "4".into());
        assert_eq!(calls.take()[0]["index"], 1);
        assert!(calls.take().is_empty() && calls.any());
    }
}
