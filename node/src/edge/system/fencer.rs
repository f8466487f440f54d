//! The port `Fencer`.

use async_trait::async_trait;
use tasuki_actors::ports::{FenceOrder, Fencer};

/// See the module.
#[derive(Debug, Default)]
pub struct SystemFencer {}

#[async_trait]
impl Fencer for SystemFencer {
    async fn act(&self, order: &FenceOrder) -> Result<(), String> {
        Err(format!("{} is not served", order.device))
    }
}
