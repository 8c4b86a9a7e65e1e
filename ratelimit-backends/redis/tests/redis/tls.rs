//! Encrypted connections, as a user has them: by a URL, and the certificates that the system trusts.

use std::{net::TcpListener, path::Path, process::Stdio};

use ratelimit_conformance::subprocess;
use ratelimit_servers::Server;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::{
    store::{settings, spend},
    store_behind_proxy::hourly,
};

/// Runs this very test in processes that trust what they are told to, and that say how it went.
// FAULTS 142.
#[tokio::test]
async fn an_encrypted_server_is_trusted_by_its_certificate_or_not_spoken_to() {
    if let Ok(url) = std::env::var(URL) {
        println!("\n{}", outcome(&url).await);
        return;
    }
    let Some(plain) = Server::start(&[]) else { return };
    if !Server::has_tls() {
        println!("skipped: this server was built without TLS");
        return;
    }
    let ours = Authority::new();
    let others = Authority::new();
    let Some((_server, port)) = ours.server("localhost") else { return };
    let Some((_other, other_port)) = ours.server("elsewhere.example") else { return };

    let encrypted = format!("rediss://:hunter2@localhost:{port}");
    assert_eq!(run(&encrypted, &ours.file()), "2 left, 1 left");
    let refused = "Unavailable NotApplied";
    assert_eq!(run(&encrypted, &others.file()), refused, "nobody vouches for it");
    let wrong_name = format!("rediss://:hunter2@localhost:{other_port}");
    assert_eq!(run(&wrong_name, &ours.file()), refused, "it is somebody else's");
    let plain_port = format!("rediss://:hunter2@localhost:{}", plain.port);
    assert_eq!(run(&plain_port, &ours.file()), refused, "it does not encrypt");
    assert_eq!(plain.calls("auth"), 0, "nothing is said in the clear");
}

/// Spends twice, and says how that went.
async fn outcome(url: &str) -> String {
    let redis = match settings(url).connect().await {
        Ok(redis) => redis,
        Err(error) => return format!("{:?} {:?}", error.kind(), error.effect()),
    };
    let policy = hourly(3);
    let mut left = Vec::new();
    for _ in 0..2 {
        let decision = spend(&redis, &policy, b"key", 1).await.expect("it decides");
        left.push(format!("{} left", decision.remaining));
    }
    left.join(", ")
}

fn run(url: &str, trusted: &Path) -> String {
    let name = "an_encrypted_server_is_trusted_by_its_certificate_or_not_spoken_to";
    let mut command = subprocess(module_path!(), name);
    command.env(URL, url).env("SSL_CERT_FILE", trusted);
    let output = command.stderr(Stdio::inherit()).output().expect("it runs once more");
    let output = String::from_utf8_lossy(&output.stdout);
    let line = output.lines().find(|line| line.ends_with("left") || line.ends_with("Applied"));
    line.unwrap_or_else(|| panic!("{output}")).to_owned()
}

const URL: &str = "RATELIMIT_TEST_TLS_URL";

/// The authority that vouches for servers.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Else it would be called as the servers are, which are then taken to vouch for themselves.
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().expect("there is randomness");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("the folder is new");
        Self { issuer, folder }
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server with a certificate of that name, and the port on which it encrypts.
    fn server(&self, name: &str) -> Option<(Server, u16)> {
        let key = KeyPair::generate().expect("there is randomness");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        let [certificate_file, key_file] = ["pem", "key"].map(|end| {
            let file = self.folder.path().join(format!("{name}.{end}"));
            file.to_str().expect("a path in letters").to_owned()
        });
        std::fs::write(&certificate_file, certificate.pem()).expect("the folder is ours");
        std::fs::write(&key_file, key.serialize_pem()).expect("the folder is ours");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.expect("there is a port").port();
        let server = Server::start(&[
            "--requirepass",
            "hunter2",
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &certificate_file,
            "--tls-key-file",
            &key_file,
            "--tls-ca-cert-file",
            self.file().to_str().expect("a path in letters"),
            "--tls-auth-clients",
            "no",
        ])?;
        Some((server, port))
    }
}
