//! `image-catalog completions` and `image-catalog man`.

use std::fs;
use std::path::Path;
use std::process::Command;

use end_to_end::harness::{Ended, command, require};

use super::{OPTIONS, folder, run};

fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(command(folder).args(arguments));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_completes_commands_and_options() {
    let Some(bash) = require("the completions of bash", "bash") else { return };
    let folder = folder("completions");
    let script = folder.join("completions");
    fs::write(&script, printed(&folder, &["completions", "bash"])).unwrap();
    let completed = |words: &[&str]| {
        // As bash calls the function that the script has registered.
        let line = format!(
            "source {}; COMP_WORDS=(image-catalog {}); COMP_CWORD={}; \
             function=$(complete -p image-catalog | sed 's/.* -F //; s/ .*//'); \
             $function image-catalog {} ''; echo ${{COMPREPLY[@]}}",
            script.display(),
            words.join(" "),
            words.len(),
            words.last().unwrap(),
        );
        let ended = Ended::run(Command::new(&bash).args(["--norc", "-c", &line]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{words:?}");
        ended.stdout.trim_end().to_owned()
    };
    assert_eq!(completed(&["re"]), "reconcile replay");
    assert_eq!(completed(&["ls", "--la"]), "--latest");
    assert_eq!(completed(&["--li"]), "--listen");
    assert_eq!(completed(&["keys", "rot"]), "rotate");
    assert_eq!(completed(&["aws-config", "--mo"]), "--models");
}

#[test]
fn other_shells_have_completions_too() {
    let folder = folder("shells");
    for (shell, first) in [("zsh", "#compdef image-catalog"), ("fish", "# Print an optspec")] {
        let script = printed(&folder, &["completions", shell]);
        assert!(script.starts_with(first), "{script}");
        for part in ["reconcile", "latest", "listen"] {
            assert!(script.contains(part), "{shell}: {part}");
        }
    }
    let output = run(command(&folder).args(["completions", "csh"]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("bash") && error.contains("zsh") && error.contains("fish"), "{error}");
}

#[test]
fn manual_pages_have_the_options() {
    let folder = folder("man");
    let page = printed(&folder, &["man"]).replace(r"\-", "-");
    assert!(page.contains(".TH image-catalog 1"), "{page}");
    for part in OPTIONS {
        assert!(page.contains(part), "the page does not name {part}:\n{page}");
    }
    let page = printed(&folder, &["man", "ls"]).replace(r"\-", "-");
    assert!(page.contains(".TH image-catalog-ls 1") && page.contains("--untagged"), "{page}");
    let page = printed(&folder, &["man", "keys", "add"]).replace(r"\-", "-");
    assert!(page.contains("--repositories"), "{page}");
    let output = run(command(&folder).args(["man", "list"]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), error.as_str()),
        (Some(1), "error: there is no command 'list'\n")
    );
}
