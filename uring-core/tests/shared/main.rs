//! A ring that threads share: every operation ends exactly once, with its buffer, whoever waits for it and whatever becomes of
//! the thread that submitted it or led.
#![cfg(not(any(loom, shuttle)))]

mod kit;

mod ends;
mod tasks;
mod threads;
