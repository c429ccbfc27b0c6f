//! The systemd unit.

use std::fs;
use std::process::Command;

use end_to_end::harness::{Process, binary, command, require};

use super::{folder, root, succeed};

/// The unit with the program of the tests.
fn unit() -> String {
    let unit = fs::read_to_string(root().join("infra/systemd/image-catalog.service")).unwrap();
    let program = "/usr/local/bin/image-catalog";
    assert_eq!(unit.matches(program).count(), 1);
    unit.replace(program, &binary().display().to_string())
}

#[test]
fn systemd_finds_the_unit_valid_and_confined() {
    let test = "systemd_finds_the_unit_valid_and_confined";
    let Some(analyze) = require(test, "systemd-analyze") else { return };
    let file = folder("systemd").join("image-catalog.service");
    fs::write(&file, unit()).unwrap();
    let mut verify = Command::new(&analyze);
    succeed(verify.args(["verify", "--recursive-errors=no", "--man=no"]).arg(&file));
    // Of 100, where 100 is a service without limits.
    let mut security = Command::new(&analyze);
    security.args(["security", "--offline=yes", "--no-pager", "--threshold=15"]);
    succeed(security.arg(&file));
}

#[test]
fn the_command_of_the_unit_serves() {
    let unit = unit();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let arguments = line.split_whitespace().skip(1).filter(|argument| *argument != "$OPTIONS");
    let arguments = arguments.map(|argument| argument.replace("/var/lib/", ""));
    let mut command = command(&folder("systemd-command"));
    let mut process = Process::start({
        command.args(arguments);
        command
    });
    process.stop();
}
