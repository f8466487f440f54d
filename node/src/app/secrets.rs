//! What people are shown of a configuration: the secrets of fencing devices are for administrators.

use serde_json::Value;
use tasuki_core::{
    config::{ClusterConfig, FenceConfig, HIDDEN, is_secret},
    registry::State,
};

use super::{Caller, Role};

/// The configuration as this caller may see it.
#[must_use]
pub fn shown_to(by: &Caller, config: &ClusterConfig) -> ClusterConfig {
    let mut config = config.clone();
    if by.role < Role::Admin {
        for fence in config.settings.fences.values_mut() {
            *fence = fence.hidden();
        }
    }
    config
}

/// The registry without secrets, for whoever takes a picture of it away.
#[must_use]
pub fn hidden(state: &State) -> State {
    let mut state = state.clone();
    let hide = |fence: &mut FenceConfig| *fence = fence.hidden();
    if let Some(settings) = &mut state.settings {
        settings.value.fences.values_mut().for_each(hide);
    }
    for version in &mut state.versions {
        let version = std::sync::Arc::make_mut(version);
        version.config.settings.fences.values_mut().for_each(hide);
    }
    state
}

/// The same for an object of the registry that is a text already.
pub fn hide(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                if name == "parameters"
                    && let Value::Object(parameters) = value
                {
                    for (_, secret) in parameters.iter_mut().filter(|(name, _)| is_secret(name)) {
                        *secret = Value::String(HIDDEN.to_owned());
                    }
                } else {
                    hide(value);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(hide),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn passwords_are_hidden_wherever_they_stand() {
        let text = r#"{"fences":{"ipmi":{"kind":{"kind":"agent","parameters":
            {"ip":"10.0.0.9","passwd":"hunter2"}}}},"more":[{"parameters":{"password":"hunter2"}}]}"#;
        let mut value: Value = serde_json::from_str(text).unwrap();
        hide(&mut value);
        let shown = value.to_string();
        assert!(shown.contains("10.0.0.9") && !shown.contains("hunter2"), "{shown}");
    }
}
