//! The inputs of the fuzz targets on stable Rust: what was found once stays found.

#[path = "../fuzz/checks/ingest_body.rs"]
mod ingest_body;

use std::path::Path;

#[test]
fn every_body_of_the_corpus_keeps_the_promises_of_the_ingest() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/ingest_body");
    let mut count = 0;
    for file in std::fs::read_dir(&folder).expect("the corpus is committed") {
        let path = file.expect("the folder can be read").path();
        let input = std::fs::read(&path).expect("the file can be read");
        // Shown when the check panics.
        println!("{}", path.display());
        ingest_body::check(&input);
        count += 1;
    }
    assert!(count >= 20, "only {count} inputs in {}", folder.display());
}
