//! Many histories at once on one server, which is killed, or told to end, in the midst of their steps. While the later ones have
//! their steps, the earlier ones wait until what they pushed has expired and is finished, so the waits cost next to nothing.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{Mutex as AsyncMutex, RwLock, Semaphore, watch};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{Instant, sleep};

use crate::support::process::Process;
use crate::support::sandbox::Sandbox;

use super::generate::history;
use super::run::{app, run};
use super::step::Step;
use super::world::{Addresses, Apple, End, Restart, World, now};

/// Random histories beside the kept cases, unless the environment says otherwise.
const HISTORIES: u64 = 1000;
/// Those whose steps go on at once.
const AT_ONCE: usize = 200;
/// Those that go on at once, or wait for their end.
const OPEN_MAX: usize = 600;
/// What befalls the server in turn.
const ENDS: [End; 3] = [End::Kill, End::Terminate, End::Kill];
/// And how often, for each so many histories, but at least so often.
const HISTORIES_TO_AN_END: usize = 120;
const ENDS_MIN: usize = 3;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A server is ended while it answers within this time, so that what it was told some time ago it knows for good; when it
/// does not in so many tries, all the same.
const PROMPT: Duration = Duration::from_millis(250);
const PROMPT_TRIES: usize = 40;
/// Rounds in which a history that failed is tried with some of its steps left out.
const SHRINKS: u64 = 6;
const SHRINK_MAX: Duration = Duration::from_secs(120);
/// Descriptors that this process and those that it starts may have, where the system lets them: for each open history a few
/// phones, at either end.
const DESCRIPTORS: &str = "--nofile=16384:";

struct Stage {
    addresses: watch::Sender<Addresses>,
    data: TempDir,
    process: Option<Process>,
    sandbox: Sandbox,
    world: Arc<World>,
}

impl Stage {
    fn new() -> Self {
        let pid = std::process::id().to_string();
        // Where it is refused, what there is has to do.
        let _ = Command::new("prlimit")
            .args(["--pid", &pid, DESCRIPTORS])
            .status();
        let data = TempDir::new().expect("a directory");
        let sandbox = Sandbox::start();
        let (process, addresses) = serve(&data, &sandbox);
        let admin = std::fs::read_to_string(data.path().join("admin.token")).expect("a token");
        let (addresses, told) = watch::channel(addresses);
        let world = World {
            addresses: told,
            admin: format!("Bearer {}", admin.trim()),
            apple: AsyncMutex::new(Apple::default()),
            connections: Mutex::default(),
            control: sandbox.control.trim_start_matches("http://").to_owned(),
            gate: RwLock::new(()),
            restarts: Mutex::default(),
        };
        Self {
            addresses,
            data,
            process: Some(process),
            sandbox,
            world: Arc::new(world),
        }
    }

    async fn restart(&mut self, by: End) {
        for _ in 0..PROMPT_TRIES {
            let start = Instant::now();
            app(&self.world).await;
            if start.elapsed() < PROMPT {
                break;
            }
        }
        let _gate = self.world.gate.write().await;
        let process = self.process.take().expect("it runs");
        let note = |restart| self.world.restarts.lock().expect("no panic").push(restart);
        note(Restart {
            at: now(),
            by,
            ready: None,
        });
        let (process, addresses) = block_in_place(|| {
            match by {
                End::Kill => process.kill(),
                End::Terminate => assert!(process.terminate().success()),
            }
            serve(&self.data, &self.sandbox)
        });
        self.process = Some(process);
        self.addresses.send_replace(addresses);
        self.world.hang_up();
        let mut restarts = self.world.restarts.lock().expect("no panic");
        restarts.last_mut().expect("one").ready = Some(now());
    }
}

fn serve(data: &TempDir, sandbox: &Sandbox) -> (Process, Addresses) {
    let args = [
        "serve".to_owned(),
        format!("--data={}", data.path().display()),
        "--api=127.0.0.1:0".into(),
        "--link=127.0.0.1:0".into(),
        "--drain-secs=2".into(),
        // Apps of a few devices have a log, too.
        "--inbox-max=2".into(),
        format!("--sandbox={}", sandbox.control),
    ];
    let process = Process::start(&args);
    let at = |name: &str, scheme: &str| process.ready[name].trim_start_matches(scheme).to_owned();
    let addresses = Addresses {
        api: at("api", "http://"),
        link: at("link", "mqtt://"),
    };
    (process, addresses)
}

#[derive(Clone)]
struct Case {
    name: String,
    steps: Vec<Step>,
}

struct Failed {
    case: Case,
    wrongs: Vec<String>,
}

impl Failed {
    /// The first thing that is wrong, without its numbers.
    fn kind(&self) -> String {
        let first = self
            .wrongs
            .first()
            .into_iter()
            .flat_map(|wrong| wrong.chars());
        first.filter(|c| !c.is_ascii_digit()).take(80).collect()
    }
}

impl Case {
    fn written(&self) -> String {
        let steps = self.steps.iter();
        let steps = steps.map(|step| serde_json::to_string(step).expect("written"));
        steps.collect::<Vec<_>>().join("\n")
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}, and must be a number")),
    )
}

/// Those that failed once, and then as many new ones as are asked for.
fn cases() -> Vec<Case> {
    let of_seed = |seed: u64| Case {
        name: format!("TIDINGS_SEED={seed}"),
        steps: history(seed),
    };
    if let Some(seed) = number("TIDINGS_SEED") {
        return vec![of_seed(seed)];
    }
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/black_box/histories/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(kept)
        .expect("the kept cases")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    files.sort();
    let kept = files.into_iter().map(|path| {
        let text = std::fs::read_to_string(&path).expect("a case");
        let steps = text.lines().filter(|line| !line.starts_with("//"));
        let steps = steps.map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{path:?}: {line}: {error}"))
        });
        Case {
            name: path.file_stem().expect("a name").display().to_string(),
            steps: steps.collect(),
        }
    });
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let first = since.expect("after 1970").as_secs() * 10_000;
    let count = number("TIDINGS_HISTORIES").unwrap_or(HISTORIES);
    println!("{count} histories from seed {first}");
    kept.chain((first..first + count).map(of_seed)).collect()
}

/// Runs histories, so many at once; those that failed come back. `ends`: what befalls the server while they have their steps.
/// How far the steps are decides when, so that a slow machine sees no more of it; how the last of them come to their end is then
/// a matter of the last server alone.
async fn all(stage: &mut Stage, cases: Vec<Case>, ends: &[End]) -> Vec<Failed> {
    let steps: usize = cases.iter().map(|case| case.steps.len()).sum();
    let done = Arc::new(AtomicUsize::new(0));
    let (places, turns) = (Semaphore::new(OPEN_MAX), Semaphore::new(AT_ONCE));
    let (places, turns) = (Arc::new(places), Arc::new(turns));
    let mut running: JoinSet<Option<Failed>> = JoinSet::new();
    for case in cases {
        let (world, done) = (Arc::clone(&stage.world), Arc::clone(&done));
        let (places, turns) = (Arc::clone(&places), Arc::clone(&turns));
        running.spawn(async move {
            let _place = places.acquire().await;
            let wrongs = run(world, &case.steps, &turns, &done).await;
            (!wrongs.is_empty()).then_some(Failed { case, wrongs })
        });
    }
    let mut failed = Vec::new();
    let mut left = ends.iter().enumerate();
    let mut next = left.next();
    while !running.is_empty() {
        tokio::select! {
            Some(ended) = running.join_next() => failed.extend(ended.expect("no panic")),
            () = sleep(LOOK_EVERY), if next.is_some() => {
                if let Some((number, end)) = next
                    && done.load(Ordering::Relaxed) * (ends.len() + 1) >= steps * (number + 1)
                {
                    stage.restart(*end).await;
                    next = left.next();
                }
            }
        }
    }
    failed
}

/// Leaves out steps as long as the history fails without them. Each try is an app of its own, so all of a round go on at once.
async fn shrink(stage: &mut Stage, mut failed: Failed) -> Failed {
    let start = Instant::now();
    for _ in 0..number("TIDINGS_SHRINKS").unwrap_or(SHRINKS) {
        if start.elapsed() > SHRINK_MAX {
            break;
        }
        let len = failed.case.steps.len();
        let parts = [len / 2, len / 4, len / 8, 1]
            .into_iter()
            .filter(|part| *part > 0);
        let places = parts.flat_map(|part| (0..len).step_by(part).map(move |at| (at, part)));
        let without = |(at, part): (usize, usize)| {
            let mut case = failed.case.clone();
            case.steps.drain(at..len.min(at + part));
            case
        };
        let tries = places.map(without).collect();
        let mut still = all(stage, tries, &[]).await;
        still.retain(|one| one.kind() == failed.kind());
        still.sort_by_key(|one| std::cmp::Reverse(one.case.steps.len()));
        match still.pop() {
            Some(smallest) => failed = smallest,
            None => break,
        }
    }
    failed
}

#[test]
fn histories_end_as_the_oracle_says() {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut stage = Stage::new();
        let cases = cases();
        let (start, count) = (Instant::now(), cases.len());
        let ends = ENDS_MIN.max(count / HISTORIES_TO_AN_END);
        let ends: Vec<End> = ENDS.into_iter().cycle().take(ends).collect();
        let mut failed = all(&mut stage, cases, &ends).await;
        println!(
            "{count} histories in {:?}, {} restarts",
            start.elapsed(),
            stage.world.restarts().len()
        );
        if failed.is_empty() {
            return;
        }
        for one in &failed {
            println!("{} failed:\n  {}", one.case.name, one.wrongs.join("\n  "));
            println!("{}", one.case.written());
        }
        failed.sort_by_key(|one| one.case.steps.len());
        let smallest = shrink(&mut stage, failed.swap_remove(0)).await;
        panic!(
            "{} of {count} histories failed; {} with what can be left out left out:\n{}\n  {}",
            failed.len() + 1,
            smallest.case.name,
            smallest.case.written(),
            smallest.wrongs.join("\n  ")
        );
    });
}
