//! Figures of several rounds: their median, and how far they lie apart.

use std::{hint::black_box, sync::Barrier, thread, time::Instant};

/// One figure a round.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    sorted: Vec<f64>,
}

impl Sample {
    pub(crate) fn new(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self { sorted: figures }
    }

    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// Half the distance between the quartiles, as a share of the median.
    pub(crate) fn spread(&self) -> f64 {
        if self.median() == 0.0 {
            0.0
        } else {
            (self.at(0.75) - self.at(0.25)) / 2.0 / self.median()
        }
    }

    /// The figure below which that share of all lies.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 ≤ share ≤ 1")]
    pub(crate) fn at(&self, share: f64) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

impl From<f64> for Sample {
    fn from(figure: f64) -> Self {
        Self::new(vec![figure])
    }
}

/// One side of a row: each call runs a round, and returns its figure.
pub(crate) type Side<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// A side that does `work` for some of `inputs` a round, in turns, on as many threads at once.
pub(crate) fn side<'a, T: Sync, R>(
    threads: usize,
    inputs: &'a [T],
    work: impl Fn(&T) -> R + Sync + 'a,
) -> Side<'a> {
    let mut parts = inputs.chunks(PART * threads).cycle();
    Box::new(move || parts.next().map_or(f64::NAN, |part| nanos_each(threads, part, &work)))
}

/// Half a millisecond or so, which is shorter than what a scheduler gives a thread.
const PART: usize = 1 << 14;

/// Nanoseconds that `work` takes for each of `inputs`, on as many threads at once; each of them
/// begins elsewhere.
pub(crate) fn nanos_each<T: Sync, R>(
    threads: usize,
    inputs: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> f64 {
    let barrier = Barrier::new(threads);
    let run = |thread: usize| {
        let (front, back) = inputs.split_at(inputs.len() / threads * thread);
        barrier.wait();
        let began = Instant::now();
        for input in back.iter().chain(front) {
            // Where it lies: an answer that is copied, or not, is not what is measured.
            black_box(&work(black_box(input)));
        }
        began.elapsed().as_nanos() as f64 / inputs.len() as f64
    };
    if threads == 1 {
        return run(0);
    }
    let each = thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).collect::<Vec<_>>()
    });
    each.iter().sum::<f64>() / each.len() as f64
}
