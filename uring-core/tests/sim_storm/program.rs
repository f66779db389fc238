//! What is done to the ring: a list of steps drawn from a seed, each of which means something in any state, so that
//! steps can be left out.

/// How the result of an operation is got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Token,
    Callback,
    Future,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    WriteFile {
        region: u8,
        style: Style,
    },
    ReadFile {
        region: u8,
        style: Style,
        bound_us: Option<u16>,
    },
    WriteStream {
        len: u8,
        style: Style,
    },
    ReadStream {
        len: u8,
        style: Style,
        bound_us: Option<u16>,
    },
    Feed {
        len: u8,
    },
    Receive {
        again: bool,
    },
    Connect,
    Accept {
        again: bool,
    },
    Open,
    Close,
    Nop,
    Timeout {
        micros: u16,
    },
    Cancel {
        pick: u16,
    },
    CancelAll,
    CancelFile,
    Abandon {
        pick: u16,
    },
    DropFuture {
        pick: u16,
    },
    Forget,
    GiveLease,
    Flush,
    Wait {
        want: u8,
        micros: u16,
    },
    /// Everything is cancelled, ends within a bounded number of waits, and is compared with the model.
    Quiesce,
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn style(&mut self) -> Style {
        match self.below(4) {
            0 | 1 => Style::Token,
            2 => Style::Callback,
            _ => Style::Future,
        }
    }

    fn bound(&mut self) -> Option<u16> {
        (self.below(8) == 0).then(|| self.below(40) as u16)
    }

    fn step(&mut self) -> Step {
        match self.below(1000) {
            0..160 => Step::WriteFile {
                region: self.next() as u8,
                style: self.style(),
            },
            160..320 => Step::ReadFile {
                region: self.next() as u8,
                style: self.style(),
                bound_us: self.bound(),
            },
            320..420 => Step::WriteStream {
                len: 1 + self.below(16) as u8,
                style: self.style(),
            },
            420..520 => Step::ReadStream {
                len: 1 + self.below(16) as u8,
                style: self.style(),
                bound_us: self.bound(),
            },
            520..550 => Step::Feed {
                len: 1 + self.below(24) as u8,
            },
            550..570 => Step::Receive {
                again: self.below(2) == 0,
            },
            570..574 => Step::Connect,
            574..580 => Step::Accept {
                again: self.below(2) == 0,
            },
            580..584 => Step::Open,
            584..588 => Step::Close,
            588..680 => Step::Nop,
            680..720 => Step::Timeout {
                micros: self.below(60) as u16,
            },
            720..750 => Step::Cancel {
                pick: self.next() as u16,
            },
            750..752 => Step::CancelAll,
            752..755 => Step::CancelFile,
            755..765 => Step::Abandon {
                pick: self.next() as u16,
            },
            765..780 => Step::DropFuture {
                pick: self.next() as u16,
            },
            780 => Step::Forget,
            781..800 => Step::GiveLease,
            800..830 => Step::Flush,
            830..996 => Step::Wait {
                want: self.below(4) as u8,
                micros: self.below(100) as u16,
            },
            _ => Step::Quiesce,
        }
    }
}

/// Draws a program.
pub(crate) fn draw(seed: u64, steps: usize) -> Vec<Step> {
    let mut random = Random(seed);
    (0..steps).map(|_| random.step()).collect()
}
