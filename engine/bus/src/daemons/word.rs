//! A daemon's word about itself: its health, and how full it is.

use super::{Daemon, DaemonHealth};
use crate::core::foreign;

#[derive(Debug)]
pub(super) struct Word {
    pub(super) health: DaemonHealth,
    /// From 0 to 1. `None`: it does not say.
    pub(super) saturation: Option<f32>,
}

impl Word {
    /// Asks the daemon. A saturation that is no number from 0 to 1 counts as 1, and a daemon that panics as unhealthy.
    pub(super) fn of(daemon: &dyn Daemon) -> Self {
        match foreign::contain(|| (daemon.health(), daemon.saturation())) {
            Ok((health, Some(saturation))) if !(0.0..=1.0).contains(&saturation) => {
                Self { health: degraded(health, saturation), saturation: Some(1.0) }
            }
            Ok((health, saturation)) => Self { health, saturation },
            Err(panic) => {
                let reason = format!("its health or its saturation panicked: {panic}");
                Self { health: DaemonHealth::Unhealthy { reason }, saturation: None }
            }
        }
    }

    pub(super) fn is_unhealthy(&self) -> bool {
        matches!(self.health, DaemonHealth::Unhealthy { .. })
    }
}

fn degraded(health: DaemonHealth, saturation: f32) -> DaemonHealth {
    let fault = format!("its saturation is {saturation}, no number from 0 to 1, and counts as 1");
    match health {
        DaemonHealth::Healthy => DaemonHealth::Degraded { reason: fault },
        DaemonHealth::Degraded { reason } => DaemonHealth::Degraded { reason: format!("{reason}; {fault}") },
        DaemonHealth::Unhealthy { reason } => DaemonHealth::Unhealthy { reason: format!("{reason}; {fault}") },
    }
}
