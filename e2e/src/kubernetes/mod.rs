//! A Kubernetes with the chart installed, and the words to make promises about it.
//!
//! Everything is done as a user would do it: resources are applied, programs are run, records go
//! through a forwarded port. Nothing assumes more of the Kubernetes than a kubeconfig, a default
//! StorageClass, and the variables that `settings` reads.
//!
//! All tests share one Kubernetes and one installed chart, so they take turns: who holds a
//! [`Kubernetes`] has it for itself.

mod apply;
mod brokers;
mod chart;
mod commands;
mod diagnosis;
mod events;
mod forward;
mod image;
mod judged;
mod metrics;
mod namespaces;
mod operator;
mod outage;
mod records;
mod resources;
mod settings;
mod storage;
mod versitygw;
mod wait;

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use kube::Client;
use kube::api::Api;
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, MutexGuard};

pub use self::apply::Refusal;
pub use self::brokers::uid;
pub use self::commands::{Ran, headwater, helm, kubectl};
pub use self::forward::Forward;
pub use self::judged::Judged;
pub use self::metrics::Counters;
pub use self::outage::ApiOutage;
pub use self::records::{expect_intact, produce};
pub use self::resources::{SHARED, cluster, topic};
pub use self::storage::Growth;
pub use self::versitygw::ObjectStorage;

use self::settings::Settings;
use crate::everything;

/// Where the chart is installed and Clusters are. It enforces restricted Pod Security.
pub const NAMESPACE: &str = "headwater";

/// A namespaced resource with a type of its own.
pub trait Object:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Serialize
{
}

impl<K> Object for K where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize
{
}

/// The Kubernetes, for as long as this test has its turn.
pub struct Kubernetes {
    client: Client,
    settings: &'static Settings,
    since: Instant,
    _turn: MutexGuard<'static, ()>,
}

/// Whose turn it is. Fair, and not poisoned by a test that fails.
static TURN: Mutex<()> = Mutex::const_new(());

/// How far the preparation of this process is: a failed one is not tried again by every test.
static PREPARED: AtomicU8 = AtomicU8::new(NOT_YET);
const NOT_YET: u8 = 0;
const BEGUN: u8 = 1;
const DONE: u8 = 2;

impl Kubernetes {
    /// Waits for this test's turn, with the chart installed. `None`, and a word about it, if not
    /// everything may run; `needs` is what the test needs besides.
    pub async fn start(needs: &str) -> Option<Kubernetes> {
        let all = " on a Kubernetes, kubectl, helm, and an image made by `cargo xtask image`";
        if !everything(&format!("{all}{needs}")) {
            return None;
        }
        let turn = TURN.lock().await;
        // Another test may have installed it already, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A client belongs to the runtime that made it, so each test has its own.
        let client = Client::try_default().await.expect("there is a kubeconfig");
        let kube = Kubernetes {
            client,
            settings: Settings::get(),
            since: Instant::now(),
            _turn: turn,
        };
        kube.prepare().await;
        kube.install();
        Some(kube)
    }

    /// Loads the image and makes an empty namespace, once in a process.
    async fn prepare(&self) {
        match PREPARED.swap(BEGUN, Ordering::Relaxed) {
            NOT_YET => {
                self.load_image(&self.settings.archive);
                self.fresh_namespace().await;
            }
            BEGUN => panic!("the Kubernetes could not be prepared, as an earlier test says"),
            _ => {}
        }
        PREPARED.store(DONE, Ordering::Relaxed);
    }

    /// Resources of a namespace.
    pub fn api<K: Object>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Resources that are in no namespace.
    pub fn everywhere<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        eprintln!("took {:.1} s", self.since.elapsed().as_secs_f64());
    }
}
