//! The traits of tokio.

use super::{AsyncFile, AsyncStream};
use crate::op::IoFd;
use crate::ring::RingRef;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

macro_rules! implement {
    ($($adapter:ident),*) => {$(
        impl<R: RingRef, D: IoFd + Clone> AsyncRead for $adapter<R, D> {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let data = ready!(self.poll_data(cx, buf.remaining()))?;
                let count = data.len().min(buf.remaining());
                buf.put_slice(&data[..count]);
                self.take(count);
                Poll::Ready(Ok(()))
            }
        }

        impl<R: RingRef, D: IoFd + Clone> AsyncBufRead for $adapter<R, D> {
            fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
                self.get_mut().poll_data(cx, usize::MAX)
            }

            fn consume(mut self: Pin<&mut Self>, count: usize) {
                self.take(count);
            }
        }

        impl<R: RingRef, D: IoFd + Clone> AsyncWrite for $adapter<R, D> {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_accept(cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_written(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_end(cx)
            }
        }
    )*};
}
implement!(AsyncFile, AsyncStream);

impl<R: RingRef, D: IoFd + Clone> AsyncSeek for AsyncFile<R, D> {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        self.begin_seek(to);
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.poll_sought(cx)
    }
}
