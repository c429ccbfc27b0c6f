//! The tables of `docs/compatibility.md` and `docs/clients.md` contain all tests of rules, and only
//! existing ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The cells of every row of the table under a heading of a document.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(document);
    let document = fs::read_to_string(document).unwrap();
    let (_, section) = document.split_once(&format!("\n## {heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let cell = |cell: &str| cell.trim().to_owned();
    rows.map(|row| row.trim_matches('|').split(" | ").map(cell).collect()).collect()
}

/// Every row of the table of rules: the numbers of its rules, and its tests, each with its file.
fn rows() -> Vec<(Vec<u32>, Vec<String>)> {
    let rows = table("compatibility.md", "Rules and their tests");
    rows.into_iter()
        .map(|row| {
            let [_, rules, tests] = &row[..] else { panic!("three cells: {row:?}") };
            let rules = rules.split(", ").map(|rule| rule.parse().unwrap());
            (rules.collect(), tests.split("<br>").map(str::to_owned).collect())
        })
        .collect()
}

/// A file in backticks, as a path in `tests` without its ending.
fn source(file: &str) -> PathBuf {
    let file = file.trim_matches('`');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).with_extension("rs");
    assert!(path.is_file(), "there is no tests/{file}.rs");
    path
}

/// The tests in a folder whose names begin with the numbers of rules, by those numbers.
fn tests_of_rules(folder: &Path, tests: &mut BTreeMap<u32, Vec<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_of_rules(&path, tests);
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let Some((_, function)) = line.split_once("fn r") else { continue };
            let name = format!("r{}", function.split('(').next().unwrap());
            let numbers = name.split('_').map_while(|part| part.strip_prefix('r')?.parse().ok());
            for number in numbers {
                tests.entry(number).or_default().push(name.clone());
            }
        }
    }
}

/// A file and a test in it, or `: all tests` of files.
fn assert_exists(test: &str) {
    if let Some(files) = test.strip_suffix(": all tests") {
        files.split(", ").map(source).for_each(drop);
        return;
    }
    let (file, name) = test.split_once(' ').unwrap_or_else(|| panic!("no test: {test}"));
    let text = fs::read_to_string(source(file)).unwrap();
    assert!(text.contains(&format!("fn {name}(")), "{file} has no test {name}");
}

#[test]
fn every_test_that_the_table_names_exists() {
    for (rules, tests) in rows() {
        assert!(!tests.is_empty(), "rules {rules:?} have no test");
        tests.iter().for_each(|test| assert_exists(test));
    }
}

#[test]
fn every_client_has_tests_that_exist() {
    let clients = table("clients.md", "What each client gets");
    assert!(clients.len() > 10, "{clients:?}");
    for client in clients {
        let [.., tests] = &client[..] else { panic!("no cell: {client:?}") };
        tests.split("<br>").for_each(assert_exists);
    }
}

/// The rules that the catalog implements.
#[test]
fn every_rule_has_a_row() {
    let listed: BTreeSet<u32> = rows().into_iter().flat_map(|(rules, _)| rules).collect();
    let implemented = 1..=61;
    let missing: Vec<u32> = implemented.filter(|rule| !listed.contains(rule)).collect();
    assert_eq!(missing, [0; 0]);
}

#[test]
fn every_test_of_a_rule_is_in_its_row() {
    let mut tests = BTreeMap::new();
    tests_of_rules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("quick"), &mut tests);
    assert!(tests.len() > 40, "{tests:?}");
    let rows = rows();
    for (rule, names) in tests {
        let (_, listed) = rows
            .iter()
            .find(|(rules, _)| rules.contains(&rule))
            .unwrap_or_else(|| panic!("rule {rule} is not in the table"));
        for name in names {
            let is_listed = listed.iter().any(|test| test.split(' ').nth(1) == Some(&name));
            assert!(is_listed, "{name} is not with rule {rule}");
        }
    }
}
