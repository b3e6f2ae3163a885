//! An S3 server in the Kubernetes: versitygw, as an image of its own.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service};

use super::image::pack;
use super::{Kubernetes, NAMESPACE};
use crate::{Account, Versitygw};

/// Name of the Deployment, its Service and its Secret.
const NAME: &str = "versitygw";
const PORT: u16 = 7070;

/// A server with one bucket, whose objects go with its pod.
pub struct ObjectStorage {
    /// Who may do everything.
    pub account: Account,
    /// Where it listens, for what is in the Kubernetes.
    pub endpoint: String,
    /// The bucket.
    pub bucket: &'static str,
}

impl Kubernetes {
    /// Starts a server, as restricted as Pod Security can be, and waits for it. `None`, and a word
    /// about it, if versitygw is not there to make an image of.
    pub async fn object_storage(&self) -> Option<ObjectStorage> {
        let program = std::fs::read(Versitygw::program()?).expect("the program can be read");
        let image = pack(NAME, &program);
        let archive = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(archive.path(), &image.bytes).expect("a temporary file can be written");
        self.load_image(archive.path());
        let storage = ObjectStorage {
            account: Account::new("root"),
            endpoint: format!("http://{NAME}.{NAMESPACE}.svc:{PORT}"),
            bucket: "tier",
        };
        let manifests = storage.manifests(&image.reference);
        let applied = self.apply(NAMESPACE, &manifests).await;
        applied.expect("restricted Pod Security allows it");
        let available = |deployment: &Deployment| {
            let status = deployment.status.as_ref();
            status.and_then(|status| status.available_replicas) == Some(1)
        };
        self.await_condition::<Deployment>(NAMESPACE, NAME, "is available", available)
            .await;
        Some(storage)
    }

    /// Deletes the server with all objects.
    pub async fn discard_object_storage(&self) {
        self.delete::<Deployment>(NAMESPACE, NAME).await;
        self.delete::<Service>(NAMESPACE, NAME).await;
        self.delete::<Secret>(NAMESPACE, NAME).await;
    }
}

impl ObjectStorage {
    /// A `spec.tier` with these credentials, and all keys below a prefix.
    pub fn tier(&self, prefix: &str, secret: &str) -> String {
        let ObjectStorage {
            endpoint, bucket, ..
        } = self;
        format!(
            "{{backend: s3, bucket: {bucket}, prefix: {prefix}, endpoint: \"{endpoint}\", \
             credentialsSecret: {{name: {secret}}}}}"
        )
    }

    /// A Secret with the credentials, as a Cluster takes it.
    pub fn secret(&self, name: &str) -> String {
        let Account { access, secret } = &self.account;
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}}}, stringData: \
             {{access_key_id: \"{access}\", secret_access_key: \"{secret}\"}}}}"
        )
    }

    fn manifests(&self, image: &str) -> String {
        let secret = self.secret(NAME);
        let bucket = self.bucket;
        // A bucket is a folder in the server's folder; the second mount makes it.
        format!(
            r#"---
{secret}
---
apiVersion: v1
kind: Service
metadata: {{name: {NAME}}}
spec:
  selector: {{app: {NAME}}}
  ports: [{{name: s3, port: {PORT}}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {NAME}}}
spec:
  selector: {{matchLabels: {{app: {NAME}}}}}
  strategy: {{type: Recreate}}
  template:
    metadata: {{labels: {{app: {NAME}}}}}
    spec:
      automountServiceAccountToken: false
      # Variables of a Service of its name would be read as settings.
      enableServiceLinks: false
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        seccompProfile: {{type: RuntimeDefault}}
      containers:
        - name: {NAME}
          image: {image}
          imagePullPolicy: IfNotPresent
          args: [--quiet, --port, ":{PORT}", --health, /healthz, posix, /data]
          env:
            - name: ROOT_ACCESS_KEY
              valueFrom: {{secretKeyRef: {{name: {NAME}, key: access_key_id}}}}
            - name: ROOT_SECRET_KEY
              valueFrom: {{secretKeyRef: {{name: {NAME}, key: secret_access_key}}}}
          ports: [{{name: s3, containerPort: {PORT}}}]
          readinessProbe: {{httpGet: {{path: /healthz, port: s3}}, periodSeconds: 1}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {{drop: [ALL]}}
          volumeMounts:
            - {{name: data, mountPath: /data}}
            - {{name: data, mountPath: /data/{bucket}, subPath: {bucket}}}
      volumes: [{{name: data, emptyDir: {{}}}}]
"#
        )
    }
}
