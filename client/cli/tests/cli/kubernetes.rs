//! The commands for Kubernetes against an API server that says what it is told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api_server::Api;
#[cfg(feature = "embedded")]
use crate::broker::Broker;
use crate::support::{finish, program};

fn list(items: &[Value]) -> Option<Value> {
    Some(json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}))
}

fn resource(kind: &str, name: &str, spec: &Value, message: &str) -> Value {
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "Ready", "message": message,
        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    json!({
        "apiVersion": "headwater.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "generation": 1, "resourceVersion": "7"},
        "spec": spec, "status": {"conditions": [condition]},
    })
}

fn cluster(name: &str) -> Value {
    resource(
        "Cluster",
        name,
        &json!({"storage": {"size": "1Gi"}}),
        "all brokers serve",
    )
}

const SHOP: &str = "/apis/headwater.dev/v1alpha1/namespaces/shop";

/// One Cluster with one Topic, and no pods.
fn demo(path: &str) -> Option<Value> {
    let topic = json!({"clusterRef": {"name": "demo"}});
    match path {
        path if path == format!("{SHOP}/clusters") => list(&[cluster("demo")]),
        "/apis/headwater.dev/v1alpha1/topics" => {
            list(&[resource("Topic", "orders", &topic, "there it is")])
        }
        path if path.starts_with("/api/v1/namespaces/shop/") => list(&[]),
        _ => None,
    }
}

/// A Topic that waits for the operator, and one that does not.
fn stuck(path: &str) -> Option<Value> {
    let metadata = |name: &str, deleted: Option<&str>| {
        json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {
                "name": name, "namespace": "shop", "resourceVersion": "7",
                "finalizers": ["other.dev/x", "headwater.dev/topic"], "deletionTimestamp": deleted,
            },
        })
    };
    let old = metadata("old", Some("2026-01-01T00:00:00Z"));
    match path {
        path if path == format!("{SHOP}/topics") => list(&[old, metadata("alive", None)]),
        path if path == format!("{SHOP}/topics/old") => Some(old),
        path if path == format!("{SHOP}/clusters") => list(&[]),
        _ => None,
    }
}

#[test]
fn without_a_kubeconfig_every_command_says_where_it_looked() {
    for args in [
        &["k8s", "status"][..],
        &["k8s", "port-forward"],
        &["k8s", "unstick"],
        &["context", "import", "demo"],
    ] {
        finish(program().args(args))
            .exits(3)
            .says("there is no /nonexistent/kubeconfig")
            .says("--kubeconfig FILE");
    }
    finish(program().args(["k8s", "status", "--kubeconfig", "/nonexistent/other"]))
        .exits(3)
        .says("cannot read the kubeconfig /nonexistent/other");
}

#[test]
fn an_unknown_kube_context_is_not_found_and_the_known_ones_are_named() {
    let api = Api::start(|_| None);
    api.run(&["k8s", "status", "--kube-context", "moon"])
        .exits(3)
        .says("there is no context moon in the kubeconfig")
        .says("its contexts are here");
}

#[test]
fn flags_that_choose_an_address_do_not_choose_a_kubernetes() {
    let api = Api::start(|_| None);
    api.run(&["k8s", "unstick", "--context", "here"])
        .exits(2)
        .says("--kube-context");
    api.run(&["k8s", "status", "-A", "-n", "shop"]).exits(2);
    assert_eq!(api.asked(), Vec::<String>::new());
}

#[test]
fn an_api_server_that_is_not_there_is_named() {
    let api = Api::start(|_| None);
    let text = std::fs::read_to_string(api.kubeconfig()).expect("it is there");
    let start = text.find("http://").expect("it has a server");
    let end = start + text[start..].find('\'').expect("it is quoted");
    let text = text.replace(&text[start..end], "http://127.0.0.1:1");
    std::fs::write(api.kubeconfig(), text).expect("it can be written");
    let run = api.run(&["k8s", "status"]);
    let run = run
        .exits(1)
        .says("cannot reach Kubernetes")
        .says("127.0.0.1:1");
    assert!(!run.stderr.contains("ERROR"), "{}", run.stderr);
}

#[test]
fn a_kubernetes_without_headwater_names_the_chart() {
    let api = Api::start(|_| None);
    api.run(&["k8s", "status"])
        .exits(3)
        .says("Headwater is not installed")
        .says("helm install");
    api.run(&["k8s", "unstick"]).exits(0);
}

#[test]
fn status_shows_what_there_is_and_what_could_not_be_read() {
    let api = Api::start(demo);
    let run = api.run(&["k8s", "status"]).exits(0);
    for part in [
        "✓ Cluster shop/demo is Ready",
        "1 Topic: all Ready",
        "there is no broker pod",
        "findings: not asked: no broker of Cluster shop/demo is ready: it has no pods",
    ] {
        assert!(
            run.stdout.contains(part),
            "{part:?} is not in\n{}",
            run.stdout
        );
    }
    let run = api.run(&["k8s", "status", "demo", "-o", "json"]).exits(0);
    let status: Value = serde_json::from_str(&run.stdout).expect("it is JSON");
    assert_eq!(status["clusters"][0]["topics"][0]["topic"], "shop/orders");
    api.run(&["k8s", "status", "moon"])
        .exits(3)
        .says("there is no Cluster moon in namespace shop")
        .says("its Clusters are demo");
}

#[test]
fn what_is_not_ready_is_in_the_exit_code() {
    let api = Api::start(|path| {
        let mut cluster = cluster("demo");
        cluster["metadata"]["generation"] = 2.into();
        match path {
            path if path.ends_with("/clusters") => list(&[cluster]),
            _ => list(&[]),
        }
    });
    let run = api.run(&["k8s", "status"]).exits(1);
    assert!(run.stdout.contains("(StatusOutdated)"), "{}", run.stdout);
    run.says("Cluster shop/demo is not Ready");
}

#[test]
fn only_our_finalizer_is_taken_off_and_only_from_what_is_being_deleted() {
    let api = Api::start(stuck);
    let run = api.run(&["k8s", "unstick", "--dry-run"]).exits(0);
    assert!(
        run.stdout.contains("Topic shop/old, being deleted"),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains("alive"), "{}", run.stdout);
    api.run(&["k8s", "unstick"]).exits(2).says("--yes");
    let patches = || {
        let mut asked = api.asked();
        asked.retain(|asked| asked.starts_with("PATCH"));
        asked
    };
    assert_eq!(patches(), Vec::<String>::new());
    api.run(&["k8s", "unstick", "--yes"])
        .exits(0)
        .says("Topic shop/old is released");
    let patch = json!({"metadata": {"finalizers": ["other.dev/x"], "resourceVersion": "7"}});
    assert_eq!(patches(), [format!("PATCH {SHOP}/topics/old {patch}")]);
}

#[test]
fn an_imported_cluster_is_a_context() {
    let api = Api::start(demo);
    api.run(&["context", "import", "moon"]).exits(3);
    api.run(&["context", "import", "--name", "work"]).exits(0);
    let list = api.run(&["context", "list"]).exits(0).stdout;
    let row = "*   work   Cluster shop/demo of kube context here   shop";
    assert!(list.contains(row), "{list}");
    let show = api.run(&["context", "show", "-o", "json"]).exits(0).stdout;
    let shown: Value = serde_json::from_str(&show).expect("it is JSON");
    let kubeconfig = api.kubeconfig();
    assert_eq!(
        shown["kubernetes"],
        json!({
            "cluster": "demo", "namespace": "shop", "context": "here", "kubeconfig": kubeconfig,
        })
    );
    assert_eq!(shown["namespace"], "shop");
    api.run(&["topic", "list"])
        .exits(1)
        .says("no broker of Cluster shop/demo is ready")
        .says("headwater k8s status demo -n shop");
    let doctor = api.run(&["doctor"]).exits(1).stdout;
    assert!(doctor.contains("✗ tunnel"), "{doctor}");
}

#[cfg(unix)]
#[test]
fn under_the_name_of_a_plugin_it_is_one() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["kubectl-headwater", "kubectl_headwater"] {
        let link = dir.path().join(name);
        let program = Path::new(env!("CARGO_BIN_EXE_headwater"));
        std::os::unix::fs::symlink(program, &link).expect("a link");
        let help = finish(Command::new(&link).args(["status", "--help"])).exits(0);
        let usage = "Usage: kubectl headwater status [OPTIONS] [CLUSTER]";
        assert!(help.stdout.contains(usage), "{}", help.stdout);
        finish(&mut Command::new(&link))
            .exits(2)
            .says("Usage: kubectl headwater");
        let mut command = Command::new(&link);
        command.env("KUBECONFIG", "/nonexistent/kubeconfig");
        finish(command.env_remove("KUBERNETES_SERVICE_HOST").arg("status"))
            .exits(3)
            .says("there is no kubeconfig");
    }
}

/// A Cluster with one ready pod.
fn with_pod(path: &str, pod: &str) -> Option<Value> {
    let labels = json!({"app.kubernetes.io/instance": "demo"});
    let pod = json!({
        "metadata": {"name": pod, "namespace": "shop", "uid": pod, "labels": labels},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    match path {
        "/api/v1/namespaces/shop/pods" => list(&[pod]),
        path => demo(path),
    }
}

/// Answers each line with its own name and the line.
fn echo(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let reader = BufReader::new(stream.try_clone().expect("a second handle"));
                let mut writer = stream;
                for line in reader.lines().map_while(Result::ok) {
                    if writeln!(writer, "{name}: {line}").is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A connection that says one line and hears another.
struct Line(BufReader<TcpStream>);

impl Line {
    fn open(port: u16) -> Line {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).expect("a timeout");
        Line(BufReader::new(stream))
    }

    fn ask(&mut self, text: &str) -> String {
        writeln!(self.0.get_mut(), "{text}").expect("it is open");
        let mut answer = String::new();
        self.0.read_line(&mut answer).expect("it answers");
        answer.trim_end().to_owned()
    }

    fn ended(mut self) -> bool {
        matches!(self.0.read(&mut [0; 1]), Ok(0))
    }
}

#[test]
fn a_forwarded_port_outlives_its_pod_and_carries_many_connections() {
    static PODS: AtomicU32 = AtomicU32::new(0);
    let name = || ["demo-0", "demo-1"][PODS.load(Ordering::SeqCst) as usize];
    let api = Api::start(move |path| with_pod(path, name()));
    api.backend("demo-0", echo("first"));
    api.backend("demo-1", echo("second"));
    let mut command = api.command();
    command.args(["k8s", "port-forward", "--port", "0"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut next = || {
        let mut line = String::new();
        said.read_line(&mut line).expect("it can be read");
        line.trim_end().to_owned()
    };
    let line = next();
    let rest = line
        .strip_prefix("forwarding localhost:")
        .expect("it forwards");
    let (port, rest) = rest.split_once(' ').expect("a port");
    assert_eq!(rest, "to pod demo-0 of Cluster shop/demo; Ctrl-C ends it");
    let port: u16 = port.parse().expect("a port");

    let mut lines: Vec<_> = (0..20).map(|_| Line::open(port)).collect();
    for (number, line) in lines.iter_mut().enumerate() {
        let text = format!("{number} {}", "x".repeat(100_000));
        assert_eq!(line.ask(&text), format!("first: {text}"));
    }
    PODS.store(1, Ordering::SeqCst);
    api.cut();
    assert!(lines.into_iter().all(Line::ended));
    assert_eq!(Line::open(port).ask("again"), "second: again");
    assert_eq!(next(), "forwarding to pod demo-1 of Cluster shop/demo now");

    let taken = port.to_string();
    api.run(&["k8s", "port-forward", "--port", &taken])
        .exits(1)
        .says("another program uses the port")
        .says("--port 0");
    let id = child.id().to_string();
    let killed = Command::new("kill").args(["-INT", &id]).status();
    assert!(killed.expect("there is a kill").success());
    assert_eq!(next(), "forwarding ended");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn who_may_not_open_tunnels_is_told_at_once() {
    // A pod without a backend: the API server forbids the tunnel.
    let api = Api::start(|path| with_pod(path, "demo-0"));
    let run = api.run(&["k8s", "status"]).exits(0);
    let part = "not asked: cannot ask a broker: a connection was ended: cannot open a tunnel to \
                pod demo-0";
    assert!(run.stdout.contains(part), "{}", run.stdout);
    assert!(run.stdout.contains("HTTP status 403"), "{}", run.stdout);
}

#[cfg(feature = "embedded")]
#[test]
fn commands_that_use_an_imported_cluster_open_a_tunnel_of_their_own() {
    let broker = Broker::start();
    let api = Api::start(|path| with_pod(path, "demo-0"));
    api.backend("demo-0", broker.endpoint.parse().expect("an address"));
    api.run(&["context", "import", "demo"]).exits(0);
    api.run(&["topic", "create", "orders"]).exits(0);
    let names = api.run(&["topic", "list", "-o", "name"]).exits(0).stdout;
    assert_eq!(names, "shop/orders\n");
    let flights = api
        .run(&["consume", "default/flights", "--max", "800"])
        .exits(0);
    assert_eq!(flights.stdout.lines().count(), 800);
    let status = api.run(&["k8s", "status"]).exits(0).stdout;
    assert!(status.contains("own findings: ✓ healthy"), "{status}");
}
