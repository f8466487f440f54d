//! Fencing by the target's own watchdog: waits until it has reset the machine for certain. The decision
//! is the core's (`membership::reset`); here is the waiting, and the question to whoever grants leases.

use std::{sync::Arc, time::Duration};

use tasuki_core::{
    ids::ServerName,
    membership::reset::{NoReset, reset_by},
    time::Timestamp,
};

use super::lease_actor::LeaseMsg;
use crate::context::Context;

/// Between two questions to a lease actor that may not have seen yet what the registry asks for.
const AGAIN: Duration = Duration::from_millis(10);
/// The lease actor answers at once, or is being restarted.
const ANSWER: Duration = Duration::from_secs(1);

/// Returns once nothing of `target` can run any more. Asked for while the registry has it withheld.
///
/// # Errors
/// Why that cannot be known.
pub(super) async fn reset_for_certain(context: &Arc<Context>, target: &ServerName) -> Result<(), String> {
    let now = || context.ports.clock.now();
    // The lease actor follows the registry, too, and may be a moment behind.
    let patience = now() + context.timing().detect;
    loop {
        match reset_by(&context.state(), target, withheld_until(context, target).await) {
            Ok(by) if by <= now() => return Ok(()),
            // Asked again after that: it must have been withheld all the time.
            Ok(by) => tokio::time::sleep(by.since(now())).await,
            Err(NoReset::StillGranted(_)) if now() < patience => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Whether a watchdog would confirm: whether the target's guard has told of one.
///
/// # Errors
/// Why not.
pub(super) fn is_armed(context: &Context, target: &ServerName) -> Result<(), String> {
    reset_by(&context.state(), target, Some(Timestamp(0))).map(drop).map_err(|error| error.to_string())
}

async fn withheld_until(context: &Context, target: &ServerName) -> Option<Timestamp> {
    let lease = context.lease_actor.get()?;
    let ask = |answer| LeaseMsg::Withheld(target.clone(), answer);
    match lease.call(ask, Some(ANSWER)).await {
        Ok(ractor::rpc::CallResult::Success(until)) => until,
        _ => None,
    }
}
