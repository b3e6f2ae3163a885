//! Waiting, with a bound, and with everything that explains why it was in vain.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Kubernetes, NAMESPACE, Object};

/// No wait of a healthy Kubernetes is nearly as long.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often to look.
const INTERVAL: Duration = Duration::from_millis(100);

impl Kubernetes {
    /// Waits until a resource is as `holds` wants it, and gives it. Errors of the API server are
    /// waited out.
    pub async fn await_condition<K: Object>(
        &self,
        namespace: &str,
        name: &str,
        what: &str,
        holds: impl Fn(&K) -> bool,
    ) -> K {
        let api = self.api::<K>(namespace);
        let look = async || match api.get_opt(name).await {
            Ok(Some(object)) if holds(&object) => Ok(object),
            Ok(Some(object)) => Err(show(&object)),
            Ok(None) => Err("it does not exist".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let what = format!("{} {namespace}/{name} {what}", K::kind(&()));
        self.until(&what, namespace, look).await
    }

    /// Waits until a resource is gone.
    pub async fn await_gone<K: Object>(&self, namespace: &str, name: &str) {
        let api = self.api::<K>(namespace);
        let look = async || match api.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(object)) => Err(show(&object)),
            Err(error) => Err(error.to_string()),
        };
        let what = format!("{} {namespace}/{name} goes", K::kind(&()));
        self.until(&what, namespace, look).await;
    }

    /// Waits until there is something.
    pub async fn eventually<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let look = async || look().await.ok_or_else(|| "not yet".to_owned());
        self.until(what, NAMESPACE, look).await
    }

    /// Waits until `look` gives something; until then it says what it saw.
    pub(super) async fn until<T>(
        &self,
        what: &str,
        namespace: &str,
        look: impl AsyncFn() -> Result<T, String>,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = match look().await {
                Ok(found) => return found,
                Err(seen) => seen,
            };
            if deadline < Instant::now() {
                let diagnosis = self.diagnosis(namespace).await;
                panic!("not within {PATIENCE:?}: {what}. Last seen:\n{seen}\n{diagnosis}");
            }
            sleep(INTERVAL).await;
        }
    }
}

/// A resource for people, without what the API server keeps for itself.
fn show<K: Object>(object: &K) -> String {
    let mut object = object.clone();
    object.meta_mut().managed_fields = None;
    serde_yaml::to_string(&object).unwrap_or_default()
}
