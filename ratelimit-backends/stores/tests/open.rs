//! Stores by their URLs.
#![cfg(all(feature = "redis", feature = "sqlite"))]

use ratelimit_algorithms::{Limiter, TokenBucket};
use ratelimit_servers::Server;
use ratelimit_stores::{OpenError, open};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Spends one of three permits on each handle of the URL's store; returns the permits left.
async fn left(url: &str) -> Result<[u64; 2], Box<dyn std::error::Error>> {
    let mut left = [0; 2];
    for left in &mut left {
        let limiter = Limiter::new(open(url).await?, "api", TokenBucket::per_hour(3))?;
        *left = limiter.check("user:42").await?.remaining;
    }
    Ok(left)
}

// FAULTS 230.
#[tokio::test]
async fn a_store_is_opened_by_its_url() -> Outcome {
    assert_eq!(left("memory:").await?, [2, 2], "each is a store of its own");
    let folder = tempfile::tempdir()?;
    for (path, slashes) in [("one.db", ""), ("other.db", "//")] {
        let path = folder.path().join(path);
        assert_eq!(left(&format!("sqlite:{slashes}{}", path.display())).await?, [2, 1]);
        assert!(path.exists());
    }
    let Some(server) = Server::start(&[]) else { return Ok(()) };
    assert_eq!(left(&server.url()).await?, [2, 1]);
    let valkey = server.url().replacen("redis", "valkey", 1);
    assert_eq!(left(&valkey).await?, [0, 0], "it is the same server");
    Ok(())
}

// FAULTS 230.
#[tokio::test]
async fn an_unknown_url_is_refused_and_not_shown() {
    let opened = async |url| open(url).await.map(drop).expect_err("it names no store");
    for url in ["", "limits.db", "http://hunter2@host", "redis", "mysql://hunter2@host/limits"] {
        assert!(matches!(opened(url).await, OpenError::UnknownScheme), "{url}");
    }
    for url in ["memory:hunter2", "memory://", "sqlite:hunter2.db?mode=ro"] {
        assert!(matches!(opened(url).await, OpenError::UnknownParameter), "{url}");
    }
    for url in ["redis://:hunter2@host?db=3", "redis-sentinels://:hunter2@host", "valkey://"] {
        let refused = opened(url).await;
        assert!(matches!(refused, OpenError::Store(_)), "{url}: {refused}");
        assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{url}");
    }
}
