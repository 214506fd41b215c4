//! A `tidings` process, from its `ready` line to its end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub(crate) struct Process {
    child: Child,
    /// What the `ready` line says, by name.
    pub(crate) ready: HashMap<String, String>,
    pub(crate) ready_after: Duration,
}

impl Process {
    /// Starts the binary and waits until it is ready.
    pub(crate) fn start<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_tidings")).args(args))
    }

    /// The same, with a clock that is ahead by so many milliseconds.
    pub(crate) fn start_ahead<S: AsRef<std::ffi::OsStr>>(ahead: i64, args: &[S]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        let ahead = ahead.to_string();
        Self::run(command.args(args).env("TIDINGS_AHEAD_MS", ahead))
    }

    /// The same, but a write beyond a limit of the size of files fails as one on a full disk does, and kills nothing.
    pub(crate) fn start_limitable<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Self {
        let by_shell = ["-c", "trap '' XFSZ && exec \"$0\" \"$@\""];
        let mut shell = Command::new("sh");
        let shell = shell.args(by_shell).arg(env!("CARGO_BIN_EXE_tidings"));
        Self::run(shell.args(args))
    }

    /// The same, with its log in a file.
    pub(crate) fn start_logging_to<S: AsRef<std::ffi::OsStr>>(log: File, args: &[S]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        Self::run(command.args(args).stderr(log))
    }

    fn run(command: &mut Command) -> Self {
        let start = Instant::now();
        let mut child = command
            .env("TIDINGS_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (line, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for read in BufReader::new(stdout).lines() {
                if read.map_or(true, |read| line.send(read).is_err()) {
                    return;
                }
            }
        });
        let line = lines
            .recv_timeout(Duration::from_secs(60))
            .expect("a ready line");
        let ready_after = start.elapsed();
        let mut words = line.split(' ');
        assert_eq!(words.next(), Some("ready"), "{line}");
        let named = words.map(|word| word.split_once('=').unwrap_or_else(|| panic!("{line}")));
        let ready = named
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self {
            child,
            ready,
            ready_after,
        }
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM; waits for the end.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.end()
    }

    /// The same, of one that is kept.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.child.wait().expect("it ends")
    }

    /// SIGSTOP: it stands still until [`Self::resume`].
    pub(crate) fn halt(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    /// How large its files may become from now on.
    pub(crate) fn limit_files(&self, bytes: &str) {
        let pid = self.child.id().to_string();
        let limit = format!("--fsize={bytes}:unlimited");
        let set = Command::new("prlimit")
            .args(["--pid", &pid, &limit])
            .status();
        assert!(set.expect("prlimit runs").success());
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// The most memory that it has had, in KiB.
    pub(crate) fn memory_peak_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a peak");
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
