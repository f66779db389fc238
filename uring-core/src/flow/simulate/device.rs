//! Devices: how long an operation takes, given what else is in flight.

use crate::sys::random::Random;

/// A change at a moment of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// When, in device time.
    pub at_ns: u64,
    /// Capacity from then on, as a factor of the model's.
    pub capacity: f64,
    /// Service time of one operation from then on, as a factor of the model's.
    pub latency: f64,
}

/// A device's behaviour, as a few numbers.
#[derive(Clone, Debug)]
pub struct Device {
    /// Operations served at once.
    pub channels: u32,
    /// Median service time of one operation on one channel.
    pub service_ns: f64,
    /// Sigma of its log-normal scatter.
    pub sigma: f64,
    /// Time on a path that is no bottleneck: added to each operation, holds no channel.
    pub path_ns: f64,
    /// Mean time between stalls of the whole device, and the mean length of one.
    pub stalls: Option<(f64, f64)>,
    /// A throttle: operations a second.
    pub throttle: Option<f64>,
    /// More in flight than this makes each operation slower: the window, and the power of the excess.
    pub collapse: Option<(u32, f64)>,
    /// Service gets faster with a queue to choose from, as on a spinning disk: the most that it gains.
    pub reorder: f64,
    /// A neighbour takes this share of the capacity, coming and going with this mean time.
    pub neighbour: Option<(f64, f64)>,
    /// Changes, in order of time.
    pub changes: Vec<Change>,
}

impl Device {
    /// Eight channels of 80 us and a stall of some milliseconds now and then.
    pub fn nvme() -> Self {
        Self {
            channels: 8,
            service_ns: 80_000.0,
            sigma: 0.25,
            path_ns: 8_000.0,
            stalls: Some((2e9, 6e6)),
            throttle: None,
            collapse: None,
            reorder: 1.0,
            neighbour: None,
            changes: Vec::new(),
        }
    }

    /// Ten channels of 110 us.
    pub fn sata_ssd() -> Self {
        Self {
            channels: 10,
            service_ns: 110_000.0,
            sigma: 0.3,
            path_ns: 20_000.0,
            stalls: None,
            ..Self::nvme()
        }
    }

    /// One arm, 8 ms, up to 2.2 times faster with a queue to choose from.
    pub fn spinning_disk() -> Self {
        Self {
            channels: 1,
            service_ns: 8e6,
            sigma: 0.35,
            path_ns: 0.0,
            stalls: None,
            reorder: 2.2,
            ..Self::nvme()
        }
    }

    /// A cloud volume: fast, but throttled to some thousand operations a second.
    pub fn throttled_volume() -> Self {
        Self {
            channels: 64,
            service_ns: 500_000.0,
            throttle: Some(16_000.0),
            stalls: None,
            ..Self::nvme()
        }
    }

    /// A storage network that collapses past its knee.
    pub fn collapsing_network() -> Self {
        Self {
            channels: 48,
            service_ns: 400_000.0,
            path_ns: 200_000.0,
            collapse: Some((48, 1.2)),
            stalls: None,
            ..Self::nvme()
        }
    }

    /// An SSD that a neighbour takes up to six tenths of.
    pub fn noisy_neighbour() -> Self {
        Self {
            neighbour: Some((0.6, 4e8)),
            ..Self::sata_ssd()
        }
    }

    /// With a change at a moment.
    pub fn changing(mut self, at_ns: u64, capacity: f64, latency: f64) -> Self {
        self.changes.push(Change {
            at_ns,
            capacity,
            latency,
        });
        self
    }
}

/// A device at work.
pub(super) struct Service<'d> {
    device: &'d Device,
    /// When each channel is free again.
    channels: Vec<f64>,
    next_token: f64,
    next_stall: f64,
    neighbour_until: f64,
    neighbour_here: bool,
    /// Stalls and neighbours come from a stream of their own, so that every controller meets the same.
    weather: Random,
}

impl<'d> Service<'d> {
    pub(super) fn new(device: &'d Device, seed: u64) -> Self {
        let mut weather = Random::new(!seed);
        let next_stall = device
            .stalls
            .map_or(f64::INFINITY, |(between, _)| weather.exponential(between));
        let channels = vec![0.0; device.channels.max(1) as usize];
        Self {
            device,
            channels,
            next_token: 0.0,
            next_stall,
            neighbour_until: 0.0,
            neighbour_here: false,
            weather,
        }
    }

    /// Submits one operation; when it will be done.
    pub(super) fn submit(&mut self, now: u64, in_flight: u32, random: &mut Random) -> u64 {
        let (device, now) = (self.device, now as f64);
        let change = device.changes.iter().rev().find(|c| c.at_ns as f64 <= now);
        let (capacity, latency) = change.map_or((1.0, 1.0), |c| (c.capacity, c.latency));
        self.stall(now);
        let mut service = random.log_normal(device.service_ns, device.sigma) / capacity;
        if let Some((knee, power)) = device.collapse {
            service *= (f64::from(in_flight) / f64::from(knee)).max(1.0).powf(power);
        }
        service /= 1.0 + (device.reorder - 1.0) * (1.0 - 1.0 / f64::from(in_flight.min(32)).sqrt());
        service /= 1.0 - self.neighbours_share(now);
        let mut begin = now;
        if let Some(per_second) = device.throttle {
            self.next_token = self.next_token.max(now) + 1e9 / (per_second * capacity);
            begin = self.next_token;
        }
        let free = self
            .channels
            .iter_mut()
            .min_by(|a, b| a.total_cmp(b))
            .expect("at least one channel");
        *free = free.max(begin) + service;
        // A latency step is time on the path: it slows each operation and takes no capacity.
        let path = device.path_ns + (latency - 1.0) * device.service_ns;
        (*free + path).max(now + 1.0) as u64
    }

    fn stall(&mut self, now: f64) {
        let Some((between, length)) = self.device.stalls else {
            return;
        };
        if now >= self.next_stall {
            let until = now + self.weather.exponential(length);
            self.channels.iter_mut().for_each(|free| *free = free.max(until));
            self.next_stall = until + self.weather.exponential(between);
        }
    }

    fn neighbours_share(&mut self, now: f64) -> f64 {
        let Some((share, period)) = self.device.neighbour else {
            return 0.0;
        };
        if now >= self.neighbour_until {
            self.neighbour_here = !self.neighbour_here;
            self.neighbour_until = now + self.weather.exponential(period);
        }
        if self.neighbour_here { share } else { 0.0 }
    }
}
