//! Tells cargo that migrations and pages are part of the program: the macros that embed them do not.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    println!("cargo:rerun-if-changed=assets");
}
