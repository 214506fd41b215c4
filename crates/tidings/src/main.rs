#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the server that mounts it comes next")
)]
mod api;
mod credentials;

fn main() {}
