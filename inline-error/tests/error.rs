//! `InlineError` against `String`, `io::Error` and its own promises.
#![cfg(not(any(loom, shuttle)))]
#![cfg(feature = "std")]

use inline_error::{BoxedError, Context, Errno, InlineError, Kind, SyscallError, SyscallKind};
use proptest::prelude::*;
use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

type Fallible = Result<(), SyscallError>;

const _: () = assert!(size_of::<SyscallError>() == 64 && align_of::<SyscallError>() == 64);
const _: () = assert!(size_of::<Fallible>() == 64 && size_of::<Option<SyscallError>>() == 64);
const _: () = assert!(size_of::<Option<Fallible>>() == 64);
const _: () = assert!(size_of::<BoxedError<SyscallKind>>() == 8);
const _: () = assert!(size_of::<Result<(), BoxedError<SyscallKind>>>() == 8);
const _: () = assert!(size_of::<Option<BoxedError<SyscallKind>>>() == 8);

#[test]
fn c9_error_and_result_are_one_line() {
    // The constants above decide; a value proves that they speak of what is built.
    let error = SyscallError::of(SyscallKind::Io);
    assert_eq!((size_of_val(&error), (&raw const error).addr() % 64), (64, 0));
    fn sendable<T: Send + Sync + Clone + 'static>(_: &T) {}
    sendable(&error);
    sendable(&error.boxed());
}

proptest! {
    #[test]
    fn c9_a_message_of_any_length_is_kept_whole(text in "\\PC{0,80}", n in any::<u64>()) {
        let error = SyscallError::new(SyscallKind::Io, format_args!("{text}"));
        prop_assert_eq!(error.message(), &text);
        prop_assert_eq!(error.is_inline(), text.len() <= SyscallError::INLINE);
        prop_assert!(!error.is_cut());
        let pieces = SyscallError::new(SyscallKind::Io, format_args!("{text}{n}{text}{n:#x}"));
        prop_assert_eq!(pieces.message(), format!("{text}{n}{text}{n:#x}"));
        let copy = pieces.clone();
        prop_assert_eq!(copy.message(), pieces.message());
    }

    #[test]
    fn c9_context_goes_before_the_message(parts in prop::collection::vec("\\PC{1,30}", 1..6)) {
        let mut error = SyscallError::of(SyscallKind::Io).with_errno(Errno::EIO);
        let mut oracle = String::new();
        for part in &parts {
            error = error.context(part);
            oracle = if oracle.is_empty() { part.clone() } else { format!("{part}: {oracle}") };
            prop_assert_eq!(error.message(), &oracle);
            prop_assert_eq!((error.kind(), error.errno()), (SyscallKind::Io, Some(Errno::EIO)));
        }
    }
}

#[test]
fn c9_io_error_and_back_keeps_every_errno() {
    for number in 1..4096 {
        let io = io::Error::from_raw_os_error(number);
        let kind = io.kind();
        let ours = SyscallError::from(io);
        assert_eq!(ours.errno().map(Errno::number), Some(number));
        let back = io::Error::from(ours.clone());
        assert_eq!((back.raw_os_error(), back.kind()), (Some(number), kind));
        let told = io::Error::from(ours.context("told"));
        assert_eq!(told.kind(), kind);
        assert_eq!(Errno::in_chain(&told).map(Errno::number), Some(number));
        assert_eq!(
            SyscallError::from(told).into_raw_io().raw_os_error(),
            Some(number)
        );
    }
}

#[test]
fn c9_the_limit_is_bytes_and_characters_stay_whole() {
    for text in ["x", "ß", "€", "🦀"] {
        for pad in 0..4 {
            for count in 10..60 {
                let message = "y".repeat(pad) + &text.repeat(count);
                let error = SyscallError::new(SyscallKind::Io, format_args!("{message}"));
                assert_eq!(error.message(), message);
                assert_eq!(error.is_inline(), message.len() <= 56);
            }
        }
    }
}

#[test]
fn c9_display_says_kind_and_message_and_the_alternate_form_the_chain() {
    let error = SyscallError::of(SyscallKind::NotFound);
    assert_eq!(format!("{error} {error:#}"), "not found not found");
    let error = SyscallError::from_errno(Errno::ENOENT).context("opening x");
    assert_eq!(error.to_string(), "not found: opening x");
    assert_eq!(
        format!("{error:#}"),
        "not found: opening x: no such file or directory (ENOENT, os error 2)"
    );
    assert_eq!(
        format!("{error:?}"),
        r#"InlineError { kind: NotFound, message: "opening x", errno: ENOENT }"#
    );
    assert_eq!(
        format!("{:#}", SyscallError::from_errno(Errno::new(4000).unwrap())),
        "operation failed: os error 4000"
    );
}

#[test]
fn c9_the_source_chain_ends_in_the_number() {
    let inner = SyscallError::from_errno(Errno::EIO).context("inner");
    let outer = SyscallError::new(SyscallKind::Unavailable, format_args!("outer")).with_source(inner);
    let told: Vec<String> = std::iter::successors(Some(&outer as &dyn Error), |&e| e.source())
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "unavailable: outer",
            "I/O error: inner",
            "input/output error (EIO, os error 5)"
        ]
    );
    assert_eq!(Errno::in_chain(&outer), Some(Errno::EIO));
    assert!(
        outer
            .source()
            .unwrap()
            .downcast_ref::<SyscallError>()
            .unwrap()
            .is_io()
    );
    // Context, cloning and boxing keep it.
    let boxed = outer.clone().context("more").boxed().context("most");
    assert_eq!(boxed.to_string(), "unavailable: most: more: outer");
    assert_eq!(Errno::in_chain(&boxed), Some(Errno::EIO));
    assert_eq!(Errno::in_chain(&SyscallError::of(SyscallKind::Io)), None);
}

#[test]
fn c9_io_errors_without_a_number_keep_text_and_cause() {
    let simple = SyscallError::from(io::Error::from(io::ErrorKind::PermissionDenied));
    assert!(simple.is_permission_denied() && simple.errno().is_none() && simple.is_inline());
    assert!(simple.to_string().starts_with("permission denied"), "{simple}");

    let custom = SyscallError::from(io::Error::new(io::ErrorKind::TimedOut, "no answer from shard 3"));
    assert!(custom.is_unavailable());
    assert_eq!(format!("{custom:#}"), "unavailable: no answer from shard 3");

    let back = io::Error::from(custom);
    assert_eq!(
        back.get_ref().unwrap().source().unwrap().to_string(),
        "no answer from shard 3"
    );
}

#[test]
fn c9_an_error_survives_the_way_through_io_error_whole() {
    let error = SyscallError::new(SyscallKind::Serialization, format_args!("field {}", 3));
    let io = io::Error::from(error);
    assert_eq!(io.to_string(), "serialization failed: field 3");
    let back = SyscallError::from(io);
    assert!(back.is_serialization() && back.is_inline());
    assert_eq!(back.message(), "field 3");
}

#[test]
fn c9_predicates_tell_the_nine_kinds_apart() {
    assert_eq!(SyscallKind::ALL.len(), 9);
    for (i, &kind) in SyscallKind::ALL.iter().enumerate() {
        let e = SyscallError::of(kind);
        let answers = [
            e.is_permission_denied(),
            e.is_operation_failed(),
            e.is_invalid_argument(),
            e.is_not_found(),
            e.is_unavailable(),
            e.is_io(),
            e.is_not_implemented(),
            e.is_manager_not_available(),
            e.is_serialization(),
        ];
        for (j, answer) in answers.into_iter().enumerate() {
            assert_eq!(answer, i == j, "{kind}");
        }
        // The number that stands for a kind leads back to it.
        if let Some(errno) = kind.errno() {
            assert_eq!(SyscallKind::from_errno(errno), kind);
        }
    }
}

#[test]
fn c9_predicates_by_number() {
    let of = |errno| SyscallError::from_errno(errno);
    assert!(of(Errno::EINTR).is_interrupted() && of(Errno::EAGAIN).is_would_block());
    assert!(of(Errno::ECANCELED).is_cancelled() && of(Errno::ETIME).is_timed_out());
    assert!(of(Errno::EAGAIN).is_retryable() && !of(Errno::ENOENT).is_retryable());
    assert!(
        !SyscallError::of(SyscallKind::Unavailable).is_retryable(),
        "no number, no promise"
    );
}

#[test]
fn c9_success_passes_context_untouched() {
    let fine: Result<u8, io::Error> = Ok(7);
    let told: Result<u8, SyscallError> = fine.with_context(|| -> &str { panic!("made for a success") });
    assert_eq!(told.unwrap(), 7);
    let question: Fallible = (|| {
        Err(io::Error::from_raw_os_error(28))?;
        Ok(())
    })();
    assert!(question.unwrap_err().is_io());
    let boxed: Result<(), BoxedError<SyscallKind>> = (|| {
        Err(SyscallKind::NotFound)?;
        Ok(())
    })();
    let unboxed: SyscallError = boxed.context("in a frame above").unwrap_err();
    assert_eq!(unboxed.to_string(), "not found: in a frame above");
}

struct Hostile(u8);

impl fmt::Display for Hostile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for _ in 0..20 {
            f.write_str("0123456789")?;
        }
        match self.0 {
            0 => Err(fmt::Error),
            1 => panic!("a display that panics"),
            _ => f.write_str(""),
        }
    }
}

#[test]
fn c9_a_display_that_fails_is_reported_in_the_message() {
    let error = SyscallError::new(SyscallKind::Io, format_args!("{}", Hostile(0)));
    assert_eq!(error.message(), "0123456789".repeat(20) + "[formatting failed]");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        SyscallError::new(SyscallKind::Io, format_args!("{}", Hostile(1)))
    }));
    assert!(panicked.is_err());
    assert_eq!(
        SyscallError::new(SyscallKind::Io, format_args!("{}", Hostile(2)))
            .message()
            .len(),
        200
    );
}

#[test]
fn c9_kernel_results_become_errors() {
    assert_eq!(Errno::check(0), Ok(0));
    assert_eq!(Errno::check(i32::MAX), Ok(i32::MAX as u32));
    assert_eq!(Errno::check(-2), Err(Errno::ENOENT));
    assert!(Errno::check(i32::MIN).is_err());
}

#[test]
fn c9_a_kind_of_two_bytes_fits() {
    #[derive(Clone, Copy, Debug)]
    struct Code(u16);
    impl fmt::Display for Code {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "code {}", self.0)
        }
    }
    impl Kind for Code {
        fn from_errno(errno: Errno) -> Self {
            Code(errno.number() as u16)
        }
    }
    let error = InlineError::new(Code(700), format_args!("{}", "z".repeat(56)));
    assert_eq!(
        (size_of_val(&error), error.is_inline(), error.kind().0),
        (64, true, 700)
    );
}

#[test]
fn c9_the_own_number_stays_in_the_chain_before_a_source() {
    let base = || SyscallError::msg(SyscallKind::Io, "m");
    for error in [
        base()
            .with_errno(Errno::EPIPE)
            .with_source(io::Error::other("why")),
        base()
            .with_source(io::Error::other("why"))
            .with_errno(Errno::EPIPE),
        base()
            .with_errno(Errno::EPIPE)
            .with_source(io::Error::other("why"))
            .clone()
            .context("")
            .boxed()
            .into_inner(),
    ] {
        assert_eq!(error.errno(), Some(Errno::EPIPE));
        assert_eq!(Errno::in_chain(&error), Some(Errno::EPIPE));
        assert_eq!(
            format!("{error:#}"),
            "I/O error: m: broken pipe (EPIPE, os error 32): why"
        );
        assert_eq!(Errno::in_chain(&io::Error::from(error)), Some(Errno::EPIPE));
    }
    let both = base()
        .with_errno(Errno::EPIPE)
        .with_source(io::Error::from_raw_os_error(2));
    assert_eq!(Errno::in_chain(&both), Some(Errno::EPIPE));
    // A source that leads to the same number is the next link itself.
    let same = base()
        .with_errno(Errno::ENOENT)
        .with_source(io::Error::from_raw_os_error(2));
    assert!(same.source().unwrap().is::<io::Error>());
    assert_eq!(Errno::in_chain(&same), Some(Errno::ENOENT));
}

#[test]
fn c9_io_errors_without_a_number_keep_their_kind() {
    use io::ErrorKind::*;
    for kind in [
        NotFound,
        PermissionDenied,
        ConnectionRefused,
        ConnectionReset,
        HostUnreachable,
        NetworkUnreachable,
        ConnectionAborted,
        NotConnected,
        AddrInUse,
        AddrNotAvailable,
        NetworkDown,
        BrokenPipe,
        AlreadyExists,
        WouldBlock,
        NotADirectory,
        IsADirectory,
        DirectoryNotEmpty,
        ReadOnlyFilesystem,
        InvalidInput,
        InvalidData,
        TimedOut,
        WriteZero,
        StorageFull,
        NotSeekable,
        QuotaExceeded,
        FileTooLarge,
        ResourceBusy,
        Deadlock,
        TooManyLinks,
        ArgumentListTooLong,
        Interrupted,
        Unsupported,
        UnexpectedEof,
        OutOfMemory,
        Other,
    ] {
        let simple = SyscallError::from(io::Error::from(kind));
        assert_eq!(simple.errno(), None, "{kind:?}: no system gave a number");
        assert!(simple.is_inline());
        assert_eq!(simple.is_interrupted(), kind == Interrupted);
        assert_eq!(simple.is_would_block(), kind == WouldBlock);
        assert_eq!(simple.is_timed_out(), kind == TimedOut);
        assert_eq!(
            simple.is_retryable(),
            matches!(kind, Interrupted | WouldBlock | OutOfMemory | ResourceBusy)
        );
        let told = simple.clone().context("a".repeat(60)).context("b");
        assert_eq!(io::Error::from(told).kind(), kind);
        assert_eq!(io::Error::from(simple).kind(), kind);
        let custom = SyscallError::from(io::Error::new(kind, "why"))
            .context("c")
            .clone();
        assert_eq!(custom.message(), "c: why");
        assert_eq!(io::Error::from(custom.clone()).kind(), kind);
        // A number that is recorded later is the one that counts.
        let numbered = custom.with_errno(Errno::EPIPE);
        assert!(!numbered.is_retryable());
        assert_eq!(io::Error::from(numbered).kind(), BrokenPipe);
    }
}

#[test]
fn c9_the_text_of_a_custom_io_error_is_in_the_message() {
    let error = SyscallError::from(io::Error::new(io::ErrorKind::InvalidData, "bad magic"));
    assert_eq!(error.to_string(), "serialization failed: bad magic");
    assert_eq!(format!("{error:#}"), "serialization failed: bad magic");
    let error = error.context("loading");
    assert_eq!(
        format!("{error} | {error:#}"),
        "serialization failed: loading: bad magic | serialization failed: loading: bad magic"
    );
    assert_eq!(error.source().unwrap().to_string(), "bad magic");
    // Only what was said is left out: the end of a word is not a text of its own.
    let error = SyscallError::msg(SyscallKind::Io, "somewhy").with_source("why");
    assert_eq!(format!("{error:#}"), "I/O error: somewhy: why");
}

inline_error::kinds! {
    /// Another library's kinds.
    enum CacheKind else Broken {
        /// Nothing there.
        Missing, is_missing = "missing" => [ENOENT];
        /// Else.
        Broken, is_broken = "broken" => [];
    }
}

#[test]
fn c9_another_kinds_error_keeps_number_and_message_through_io_error() {
    let io = io::Error::from(SyscallError::from_errno(Errno::ENOENT).context("ctx"));
    let cache = InlineError::<CacheKind>::from(io);
    assert!(cache.kind().is_missing() && !cache.kind().is_broken());
    assert_eq!(cache.errno(), Some(Errno::ENOENT));
    assert_eq!(cache.message(), "not found: ctx");
    assert_eq!(
        format!("{cache:#}"),
        "missing: not found: ctx: no such file or directory (ENOENT, os error 2)"
    );
    assert_eq!(CacheKind::ALL.len(), 2);
    let wrapped = io::Error::other(io::Error::from_raw_os_error(13));
    let error = SyscallError::from(wrapped);
    assert_eq!(
        (error.errno(), error.is_permission_denied()),
        (Some(Errno::EACCES), true)
    );
    // The wrapping's own kind is the later word.
    let wrapped = io::Error::new(io::ErrorKind::TimedOut, io::Error::from_raw_os_error(111));
    let error = SyscallError::from(wrapped);
    assert_eq!((error.errno(), error.is_timed_out()), (None, true));
    assert_eq!(Errno::in_chain(&error), Some(Errno::ECONNREFUSED));
}

#[test]
fn c9_a_context_that_fails_to_format_keeps_the_message() {
    struct Half;
    impl fmt::Display for Half {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }
    let error = SyscallError::msg(SyscallKind::Io, "the important part").context(Half);
    assert_eq!(error.message(), "half[formatting failed]: the important part");
    assert!(!error.is_cut());
    let empty = SyscallError::msg(SyscallKind::Io, "x").context("");
    assert_eq!(empty.message(), "x");
    assert_eq!(
        SyscallError::of(SyscallKind::Io).context("").to_string(),
        "I/O error"
    );
}

#[test]
fn c9_display_takes_a_width() {
    let error = SyscallError::msg(SyscallKind::Io, "\u{20ac}"); // 12 characters
    assert_eq!(
        format!("[{error:>14}] [{error:*^15}] [{error:14}] [{error:3}]"),
        "[  I/O error: \u{20ac}] [*I/O error: \u{20ac}**] [I/O error: \u{20ac}  ] [I/O error: \u{20ac}]"
    );
    assert_eq!(
        format!("[{:>5}]", SyscallError::of(SyscallKind::Io).boxed()),
        "[I/O error]"
    );
}
