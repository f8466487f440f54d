//! Who writes meanwhile.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use tasuki_core::{ids::ServerName, registry::Author};
use tasuki_tests::twin::Twin;

use super::{kiki, lala, token};

/// Writes to the registry through both servers, and remembers what was acknowledged.
pub struct Writers {
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    pub fn start(twin: &Twin, name: &str) -> Self {
        let acknowledged: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let tasks = [kiki(), lala()].into_iter().filter_map(|server| {
            let (node, acknowledged) = (twin.node(&server)?, acknowledged.clone());
            let name = format!("{name}-{server}");
            Some(tokio::spawn(async move {
                for n in 0_u32.. {
                    let id = format!("{name}-{n}");
                    let by = Author::Operator("test".into());
                    if node.propose(by, token(&id), None, Vec::new()).await.is_ok() {
                        acknowledged.lock().unwrap().insert(id);
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }))
        });
        Self { acknowledged: acknowledged.clone(), tasks: tasks.collect() }
    }

    pub fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Ends, and finds everything that was acknowledged.
    pub async fn find_all(self, twin: &Twin, at: &ServerName) {
        for task in &self.tasks {
            task.abort();
        }
        let state = twin.read(at).await;
        let acknowledged = self.acknowledged.lock().unwrap();
        assert!(!acknowledged.is_empty());
        let lost: Vec<&String> = acknowledged.iter().filter(|id| !state.tokens.contains_key(*id)).collect();
        assert!(lost.is_empty(), "lost of {}: {lost:?}", acknowledged.len());
    }
}
