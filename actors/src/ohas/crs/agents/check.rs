//! A resource's check: while it is up, a command says how it does. Runs beside the resource's actor,
//! as long as nothing else is asked of the resource.

use std::{collections::BTreeMap, convert::Infallible};

use tasuki_core::{
    config::{CheckConfig, ExecConfig},
    group::lifecycle::CheckedState,
    registry::state::ClusterMode,
};

use crate::{
    context::Context,
    ports::{LookError, ProgramAnswer, ProgramLook, ResourceOrder, ResourceSpec},
};

/// How a resource does, by its check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Its state and STATE_DETAILS.
    Is(CheckedState, String),
    /// It was stopped on purpose, past the cluster: it is not wanted any more.
    StoppedOnPurpose(String),
}

/// Checks for ever, first at once and then an interval after the end of the one before. Waits for
/// ever where there is no check.
pub async fn run(context: &Context, order: &ResourceOrder, say: impl Fn(Checked)) -> Infallible {
    let ResourceSpec::Exec(exec) = &order.kind else { return std::future::pending().await };
    let Some(check) = &exec.check else { return std::future::pending().await };
    let look = look(exec, check, &order.environment);
    loop {
        // Nobody looks at what runs in a suspended cluster.
        if context.state().cluster_mode() != ClusterMode::Suspended {
            say(read(context.ports.prober.run(&look).await));
        }
        tokio::time::sleep(check.interval).await;
    }
}

fn look(exec: &ExecConfig, check: &CheckConfig, told: &BTreeMap<String, String>) -> ProgramLook {
    let mut environment = told.clone();
    environment.extend(exec.environment.clone());
    ProgramLook {
        command: check.command.clone(),
        user: exec.user.clone(),
        directory: exec.directory.clone(),
        nice: 0,
        timeout: check.timeout,
        environment,
    }
}

/// | exit code | means |
/// |---|---|
/// | 0 | online |
/// | 1 | ended |
/// | 2 | stopped on purpose |
/// | 3, or the check could not be run | unknown |
/// | 4 | intermediate |
/// | others, or the check took too long | failed |
fn read(answer: Result<ProgramAnswer, LookError>) -> Checked {
    let ProgramAnswer { code, first_line } = match answer {
        Ok(answer) => answer,
        Err(LookError::NotRun(why)) => return Checked::Is(CheckedState::Unknown, why),
        Err(LookError::Failed(why)) => return Checked::Is(CheckedState::Failed(why.clone()), why),
    };
    let led_in = |what: &str| match first_line.as_str() {
        "" => what.to_owned(),
        line => format!("{what}: {line}"),
    };
    let state = match code {
        0 => CheckedState::Online,
        1 => CheckedState::Failed(led_in("its check says that it has ended")),
        2 => return Checked::StoppedOnPurpose(led_in("its check says that it was stopped on purpose")),
        3 => CheckedState::Unknown,
        4 => CheckedState::Intermediate,
        other => CheckedState::Failed(led_in(&format!("its check ended with exit code {other}"))),
    };
    Checked::Is(state, first_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_read_as_the_table_says() {
        let table = [
            (0, CheckedState::Online),
            (1, CheckedState::Failed("its check says that it has ended: line".into())),
            (3, CheckedState::Unknown),
            (4, CheckedState::Intermediate),
            (5, CheckedState::Failed("its check ended with exit code 5: line".into())),
            (127, CheckedState::Failed("its check ended with exit code 127: line".into())),
        ];
        for (code, state) in table {
            let answer = ProgramAnswer { code, first_line: "line".into() };
            assert_eq!(read(Ok(answer)), Checked::Is(state, "line".into()), "{code}");
        }
        let answer = ProgramAnswer { code: 2, first_line: String::new() };
        let why = "its check says that it was stopped on purpose";
        assert_eq!(read(Ok(answer)), Checked::StoppedOnPurpose(why.into()));
    }

    #[test]
    fn a_check_that_cannot_be_run_says_nothing_and_one_that_hangs_says_failed() {
        let missing = || "there is no such script".to_owned();
        assert_eq!(read(Err(LookError::NotRun(missing()))), Checked::Is(CheckedState::Unknown, missing()));
        let failed = Checked::Is(CheckedState::Failed(missing()), missing());
        assert_eq!(read(Err(LookError::Failed(missing()))), failed);
    }
}
