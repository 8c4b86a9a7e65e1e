//! The examples keep the promises of a store.

#[expect(dead_code, reason = "nobody runs it here")]
#[path = "../examples/file.rs"]
mod file;
#[expect(dead_code, reason = "nobody runs it here")]
#[path = "../examples/hash_map.rs"]
mod hash_map;

mod in_memory {
    use ratelimit_backend::StoreBackend;

    use crate::hash_map::Map;

    ratelimit_conformance::suite!(async |clock| StoreBackend::with_clock(Map::default(), clock));
}

mod in_a_folder {
    use ratelimit_backend::StoreBackend;

    use crate::file::Folder;

    ratelimit_conformance::suite!(
        async |clock| {
            let folder = tempfile::tempdir().expect("a folder can be made");
            StoreBackend::with_clock(Folder(folder), clock)
        },
        ratelimit_conformance::Effort::new()
            .with_checks_per_task(5)
            .with_trace_steps(100)
            .with_keys(100)
    );

    ratelimit_conformance::processes!(
        || {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let path = folder.path().display().to_string();
            Some((folder, path))
        },
        async |path| StoreBackend::new(Folder(path)),
        ratelimit_conformance::Effort::new().with_checks_per_task(5)
    );
}
