//! The simulator with rules that can be taken out: `simulate`, built with the feature `planted` under
//! a name of its own, so that the tests' other programs are built without it.

use std::process::ExitCode;

#[path = "simulate.rs"]
#[allow(dead_code)]
mod simulate;

fn main() -> ExitCode {
    simulate::main()
}
