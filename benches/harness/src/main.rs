//! Backend and load generators of the benchmark. `benches/run.py` drives it; see
//! `docs/benchmarks.md` for what is measured.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lexopt::{Arg, Parser, ValueExt};

use crate::load::Peer;
use crate::process::ProcessTree;

mod backend;
mod handoff;
mod hello;
mod load;
mod pattern;
mod poll;
mod process;

const HELP: &str = "\
cloister-bench backend --socket PATH [--handoff-socket PATH]
    Serves on PATH and on a TCP port of loopback, whose address it prints, and takes connections
    that are handed off. Runs until killed.

cloister-bench MEASURE --to ADDRESS:PORT [--name NAME] [--pid PID] [options]
    Puts load on the proxy at the address and prints one JSON object. PID is the proxy's
    process; its CPU time and memory are counted with those of its descendants.

    connections  --count N --parallel N   connect, hello, 1.5 KB reply, close        (M1)
    download     --bytes N                bulk, backend to client                    (M2)
    upload       --bytes N                bulk, client to backend                    (M2u)
    ping-pong    --count N --parallel N   128 bytes and their echo                   (M3, M3n)
    idle         --count N                memory of relayed, idle connections        (M4)

    --name NAME      server name in the hello (default bench.example)
    --deadline SECS  fail after so long (default 60)
";

struct Options {
    socket: Option<PathBuf>,
    handoff: Option<PathBuf>,
    to: Option<SocketAddr>,
    name: String,
    pid: Option<u32>,
    count: usize,
    parallel: usize,
    bytes: u64,
    deadline: u64,
}

fn parse() -> Result<Option<(String, Options)>> {
    let mut options = Options {
        socket: None,
        handoff: None,
        to: None,
        name: "bench.example".into(),
        pid: None,
        count: 1000,
        parallel: 1,
        bytes: 1 << 30,
        deadline: 60,
    };
    let mut verb = None;
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("handoff-socket") => options.handoff = Some(parser.value()?.into()),
            Arg::Long("socket") => options.socket = Some(parser.value()?.into()),
            Arg::Long("to") => options.to = Some(parser.value()?.parse()?),
            Arg::Long("name") => options.name = parser.value()?.string()?,
            Arg::Long("pid") => options.pid = Some(parser.value()?.parse()?),
            Arg::Long("count") => options.count = parser.value()?.parse()?,
            Arg::Long("parallel") => options.parallel = parser.value()?.parse()?,
            Arg::Long("bytes") => options.bytes = parser.value()?.parse()?,
            Arg::Long("deadline") => options.deadline = parser.value()?.parse()?,
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Value(value) if verb.is_none() => verb = Some(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(verb.map(|verb| (verb, options)))
}

fn run() -> Result<()> {
    let Some((verb, options)) = parse()? else {
        print!("{HELP}");
        return Ok(());
    };
    if verb == "backend" {
        let socket = options.socket.context("--socket is missing")?;
        return backend::serve(&socket, options.handoff.as_deref());
    }
    let peer = Peer {
        address: options.to.context("--to is missing")?,
        name: options.name,
        process: options.pid.map(ProcessTree),
        deadline: Instant::now() + Duration::from_secs(options.deadline),
    };
    let result = match verb.as_str() {
        "connections" => load::short(&peer, options.count, options.parallel),
        "download" => load::download(&peer, options.bytes),
        "upload" => load::upload(&peer, options.bytes),
        "ping-pong" => load::small(&peer, options.count, options.parallel),
        "idle" => load::idle(&peer, options.count),
        other => bail!("there is no measure {other:?}; see --help"),
    }
    .with_context(|| format!("{verb} through {}", peer.address))?;
    println!("{result}");
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cloister-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
