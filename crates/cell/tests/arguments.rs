//! The command line.

use cloister_cell::arguments::Arguments;

fn parse(line: &str) -> Result<Arguments, String> {
    Arguments::parse(line.split_whitespace().map(Into::into))
}

#[test]
fn the_verbs() {
    assert_eq!(
        parse("run --spec-fd 3 --status-fd 4 --lifeline-fd 5 --die-with-parent"),
        Ok(Arguments::Run {
            spec: 3,
            status: Some(4),
            lifeline: Some(5),
            die_with_parent: true
        })
    );
    assert_eq!(
        parse("run --spec-fd=5"),
        Ok(Arguments::Run {
            spec: 5,
            status: None,
            lifeline: None,
            die_with_parent: false
        })
    );
    assert_eq!(
        parse("explain --json --spec-fd 3"),
        Ok(Arguments::Explain {
            spec: 3,
            json: true
        })
    );
    assert_eq!(parse("disk --order-fd 3"), Ok(Arguments::Disk { order: 3 }));
    for line in [
        "--help",
        "-h",
        "help",
        "run --help",
        "explain -h",
        "disk -h",
    ] {
        assert_eq!(parse(line), Ok(Arguments::Help), "{line}");
    }
    for line in ["--version", "-V"] {
        assert_eq!(parse(line), Ok(Arguments::Version), "{line}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (line, expected) in [
        ("", "no command"),
        ("stop", "\"stop\""),
        ("run", "needs --spec-fd"),
        ("run --spec-fd", "needs a number"),
        ("run --spec-fd -1", "\"-1\""),
        ("run --spec-fd 3 --json", "--json"),
        ("explain --spec-fd 3 --status-fd 4", "--status-fd"),
        ("run --spec-fd 3 extra", "extra"),
        ("disk", "needs --order-fd"),
        ("disk --spec-fd 3", "--spec-fd"),
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.contains(expected), "{line}: {error}");
    }
}
