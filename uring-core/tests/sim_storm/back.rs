//! What comes back, held against the model.

use crate::loan::Loan;
use crate::model::{Fd, REGION, is_ordinary};
use crate::world::{Checked, Got, Kind, Plant, World};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use uring_core::abi;
use uring_core::op::{Nop, Raw, Read, Send, Timeout, Within, Write};
use uring_core::sim::Fault;

impl World<'_> {
    pub(crate) fn plants(&mut self, plant: Plant) -> bool {
        let here = self.plant == Some(plant) && self.plants_left > 0 && self.random.below(16) == 0;
        self.plants_left -= u32::from(here);
        here
    }

    pub(crate) fn turn(&mut self, want: usize, timeout: Duration) -> Checked {
        if let Err(error) = self.ring.wait(want, timeout)
            && !error.is_retryable()
        {
            return Err(format!("a wait failed: {error:?}"));
        }
        self.plant_alias();
        self.reap()?;
        self.look_at_futures()?;
        let inbox = std::mem::take(&mut *self.inbox.lock().unwrap());
        for got in inbox {
            self.came(got)?;
        }
        self.look_at_received()?;
        self.look_at_accepted()?;
        self.look_at_files()
    }

    pub(crate) fn reap(&mut self) -> Checked {
        let mut came = Vec::new();
        let mut unknown = None;
        self.ring.reap(|done| {
            let id = done.id();
            let done = match done.take::<Nop>() {
                Ok(ended) => return came.push((id, ended.map(|()| 0), None)),
                Err(done) => done,
            };
            let done = match done.take::<Timeout>() {
                Ok(ended) => return came.push((id, ended.map(|()| 0), None)),
                Err(done) => done,
            };
            let done = match done.take::<Read<Loan, Fd>>() {
                Ok((result, loan)) => return came.push((id, result, Some(loan))),
                Err(done) => done,
            };
            let done = match done.take::<Write<Loan, Fd>>() {
                Ok((result, loan)) => return came.push((id, result, Some(loan))),
                Err(done) => done,
            };
            let done = match done.take::<Send<Loan, Fd>>() {
                Ok((result, loan)) => return came.push((id, result, Some(loan))),
                Err(done) => done,
            };
            match done.take::<Within<Read<Loan, Fd>>>() {
                Ok((result, loan)) => came.push((id, result, Some(loan))),
                // The planted alias, or nothing that was submitted.
                Err(done) => unknown = done.take::<Raw<()>>().is_err().then_some(id).or(unknown),
            }
        });
        if let Some(id) = unknown {
            return Err(format!("{id:?} is of no type that was submitted"));
        }
        for (id, result, loan) in came {
            if self.plants(Plant::LostCompletion) {
                continue;
            }
            let twice = self.plants(Plant::DoubleCompletion);
            let at = self.by_slot.get(id.slot()).copied().flatten();
            let wrong = self.plants(Plant::WrongGeneration);
            let other = self.by_slot.iter().flatten().copied().find(|&a| Some(a) != at);
            let at = if wrong { other.or(at) } else { at };
            let Some((at, live)) = at.and_then(|at| Some((at, self.ops[at]?))) else {
                return Err(format!("{id:?} completed, and nobody waits for it"));
            };
            if live.id != Some(id) && !wrong {
                return Err(format!("{id:?} completed in the place of {:?}", live.id));
            }
            self.gone.insert(id);
            if self.gone.len() > 64 {
                self.gone.clear();
            }
            let serial = live.serial;
            self.came(Got {
                at,
                serial,
                result,
                loan,
            })?;
            if twice {
                self.came(Got {
                    at,
                    serial,
                    result,
                    loan: None,
                })?;
            }
        }
        Ok(())
    }

    pub(crate) fn look_at_futures(&mut self) -> Checked {
        let mut cx = Context::from_waker(Waker::noop());
        let mut ended = Vec::new();
        self.futures
            .retain_mut(|(at, future)| match future.as_mut().poll(&mut cx) {
                Poll::Pending => true,
                Poll::Ready(output) => {
                    ended.push((*at, output));
                    false
                }
            });
        for (at, (result, loan)) in ended {
            let serial = self.ops[at].ok_or("a future without its operation")?.serial;
            self.came(Got {
                at,
                serial,
                result,
                loan: Some(loan),
            })?;
        }
        Ok(())
    }

    /// One operation ended: it was alive, it is the one, and the model agrees.
    pub(crate) fn came(&mut self, got: Got) -> Checked {
        let Some(live) = self.end(got.at).filter(|live| live.serial == got.serial) else {
            return Err("an operation ended twice".into());
        };
        if let Err(error) = got.result {
            // The other end of a stream that was given up is closed.
            let given_up = matches!(live.kind, Kind::WriteStream { number } | Kind::ReadStream { number }
                if number != self.stream.number);
            let allowed = is_ordinary(error) || (error.is_cancelled() && live.cancelled) || given_up;
            if !allowed {
                return Err(format!(
                    "{:?} ended with {error:?}, which nothing explains",
                    live.kind
                ));
            }
        }
        match (live.kind, got.result, &got.loan) {
            (Kind::Nop, Ok(_), None) => {}
            (Kind::Timeout { until }, Ok(_), None) => {
                if self.simulation.now() < until {
                    return Err("a timeout came too early".into());
                }
            }
            (Kind::WriteFile { region, data }, Ok(n), Some(loan)) => {
                if loan.bytes() != data {
                    return Err("another buffer came back from a write".into());
                }
                self.disk.regions[region].content[..n].copy_from_slice(&data[..n]);
            }
            (Kind::ReadFile { region }, Ok(n), Some(loan)) => {
                let want = &self.disk.regions[region].content[..n];
                if n == 0 || loan.bytes()[..n] != *want {
                    return Err(format!(
                        "region {region} read as {:?}, not {want:?}",
                        loan.bytes()
                    ));
                }
            }
            (Kind::WriteStream { number }, result, Some(loan)) => {
                // What was not taken is written again from there.
                if number == self.stream.number {
                    self.stream.written -= (loan.bytes().len() - result.unwrap_or(0)) as u64;
                }
            }
            (Kind::ReadStream { number }, Ok(n), Some(loan)) => {
                if number == self.stream.number {
                    self.stream.came(&loan.bytes()[..n])?;
                }
            }
            (_, Err(_), _) => {}
            (kind, result, _) => return Err(format!("{kind:?} gave {result:?}")),
        }
        self.release(live.kind, false);
        Ok(())
    }

    pub(crate) fn look_at_received(&mut self) -> Checked {
        let received = std::mem::take(&mut *self.received.lock().unwrap());
        for (item, more) in received {
            match item {
                Ok(Some(lease)) => {
                    self.feed.came(&lease)?;
                    let bytes = lease.to_vec();
                    self.leases.held.push_back((lease, bytes));
                }
                Ok(None) => return Err("the feed ended".into()),
                Err(error) if is_ordinary(error) || error.is_cancelled() => {}
                Err(error) => return Err(format!("a receive failed: {error:?}")),
            }
            self.receiving &= more;
        }
        Ok(())
    }

    pub(crate) fn look_at_accepted(&mut self) -> Checked {
        let accepted = std::mem::take(&mut *self.accepted.lock().unwrap());
        for (item, more) in accepted {
            match item {
                // Closed at once, and its client too, so that numbers are used again.
                Ok(_) => drop(self.clients.pop()),
                Err(error) if is_ordinary(error) || error.is_cancelled() => {}
                Err(error) => return Err(format!("an accept failed: {error:?}")),
            }
            self.accepting &= more;
        }
        Ok(())
    }

    pub(crate) fn look_at_files(&mut self) -> Checked {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap());
        self.opens -= opened.len() as u64;
        match opened
            .into_iter()
            .flat_map(Result::err)
            .find(|e| !is_ordinary(*e) && !e.is_cancelled())
        {
            Some(error) => Err(format!("an open or close failed: {error:?}")),
            None => Ok(()),
        }
    }

    /// Queues the entry whose buffer went back already.
    pub(crate) fn plant_alias(&mut self) {
        let early = self.plant == Some(Plant::EarlyHandBack) && self.plants_left > 0;
        if early && self.alias.is_none() {
            self.plants_left -= 1;
            let loan = self.arena.lend(REGION);
            self.alias = Some((loan.bytes().as_ptr() as u64, REGION as u32));
        }
        if let Some((addr, len)) = self.alias.take() {
            let entry = abi::Sqe {
                addr,
                len,
                ..abi::Sqe::new(abi::code::READ, self.disk.file.as_raw_fd())
            };
            // SAFETY: planted: the memory is the arena's, which never frees it, but it is no longer this entry's.
            let _ = self.ring.submit(unsafe { Raw::new(entry, ()) });
        }
    }

    /// Ends everything, within a bounded number of waits, and compares all that can be compared.
    pub(crate) fn quiesce(&mut self) -> Checked {
        self.cancel_all()?;
        // What a future submitted is in the published counts from the next turn on, and nothing else tells of one forgotten.
        self.turn(0, Duration::ZERO)?;
        let stuck = |world: &Self| world.simulation.report().count(Fault::Stuck) as usize;
        let mut rounds = 0;
        // What was forgotten keeps its slot, but is over in the kernel.
        let in_kernel = |world: &Self| {
            let counts = world.ring.stats().counts();
            (counts.submitted - counts.completed) as usize
        };
        while self.ring.held() > self.forgotten + stuck(self) || in_kernel(self) > stuck(self) {
            self.turn(1, Duration::from_millis(200))?;
            rounds += 1;
            if rounds > 2000 {
                return Err(format!(
                    "{} operations never end, {} may",
                    self.ring.held(),
                    self.forgotten + stuck(self)
                ));
            }
        }
        // Completions that nobody waits for may still lie about.
        let doubled = |world: &Self| world.simulation.report().count(Fault::Duplicate);
        for _ in 0..200 {
            self.turn(0, Duration::ZERO)?;
            if self.ring.stats().counts().stale == doubled(self) {
                break;
            }
        }
        let stale = self.ring.stats().counts().stale;
        if stale != doubled(self) {
            return Err(format!("{stale} stale completions, {} doubled", doubled(self)));
        }
        if !self.stuck && self.live > 0 {
            let lost: Vec<_> = self.ops.iter().flatten().collect();
            return Err(format!("never completed: {lost:?}"));
        }
        if !self.stuck && (self.receiving || self.accepting || self.opens > 0) {
            return Err("a receive, accept, open or close never completed".into());
        }
        let violations = self.simulation.report().violations;
        if violations > 0 {
            return Err(format!("{violations} times memory in flight was touched"));
        }
        if !self.stuck {
            for region in &mut self.disk.regions {
                (region.readers, region.writing) = (0, false);
            }
        }
        self.disk.compare()?;
        let (_, corrupt) = self.arena.audit();
        if corrupt > 0 {
            return Err(format!("{corrupt} buffers were written after they came back"));
        }
        Ok(())
    }
}
