//! What a client's samples say: outages, and answers that should not have been.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use super::{Answer, Sample};

/// All samples of a client, by the time they were asked.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: Vec<Sample>,
}

/// A time without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The end of the last good answer before.
    pub from: Instant,
    /// The end of the first good answer after.
    pub to: Instant,
    /// Who gave the last answer before.
    pub before: Answer,
    /// Who gave the first one after.
    pub after: Answer,
    /// Questions asked in between that were not answered.
    pub failed: usize,
}

impl Gap {
    /// How long it was.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.to - self.from
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.length().as_secs_f64() * 1e3;
        let Self { before, after, failed, .. } = self;
        write!(
            f,
            "{milliseconds:.1} ms from {} to {}, {failed} questions unanswered",
            before.server, after.server
        )
    }
}

/// Answers of an older instance of the service, asked for after a newer one had answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The older.
    pub old: Answer,
    /// The newer.
    pub new: Answer,
    /// From the newer one's first answer to the last question that the older one answered.
    pub length: Duration,
}

impl History {
    /// Orders the samples.
    #[must_use]
    pub fn new(mut samples: Vec<Sample>) -> Self {
        samples.sort_by_key(|sample| sample.asked);
        Self { samples }
    }

    /// All samples.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The outage that a fault at `fault` brought: the longest gap that ends after it and begins
    /// before `until`. `None` when there was no answer before, or none after.
    #[must_use]
    pub fn outage(&self, fault: Instant, until: Instant) -> Option<Gap> {
        let gaps = self.gaps();
        gaps.into_iter().filter(|gap| gap.to >= fault && gap.from <= until).max_by_key(Gap::length)
    }

    /// The longest time without an answer.
    #[must_use]
    pub fn longest_gap(&self) -> Option<Gap> {
        self.gaps().into_iter().max_by_key(Gap::length)
    }

    /// The times between one good answer and the next.
    #[must_use]
    pub fn gaps(&self) -> Vec<Gap> {
        let mut good: Vec<(&Sample, &Answer)> = self
            .samples
            .iter()
            .filter_map(|sample| sample.outcome.as_ref().ok().map(|answer| (sample, answer)))
            .collect();
        good.sort_by_key(|(sample, _)| sample.ended);
        let gap = |pair: &[(&Sample, &Answer)]| {
            let [(last, before), (first, after)] = pair else { return None };
            let between = |sample: &&Sample| sample.asked > last.asked && sample.asked < first.ended;
            let start = self.samples.partition_point(|sample| sample.asked <= last.asked);
            let failed =
                self.samples[start..].iter().take_while(between).filter(|sample| sample.outcome.is_err());
            Some(Gap {
                from: last.ended,
                to: first.ended,
                before: (*before).clone(),
                after: (*after).clone(),
                failed: failed.count(),
            })
        };
        good.windows(2).filter_map(gap).collect()
    }

    /// How many questions were not answered.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.samples.iter().filter(|sample| sample.outcome.is_err()).count()
    }

    /// Every instance of the service that answered, with the number of its answers, oldest first.
    #[must_use]
    pub fn answered(&self) -> Vec<(Answer, usize)> {
        self.spans().into_iter().map(|(answer, span)| (answer, span.count)).collect()
    }

    /// Where two instances answered at one time. Coming back to a server is no overlap: the service
    /// is another process then.
    #[must_use]
    pub fn overlaps(&self) -> Vec<Overlap> {
        let spans = self.spans();
        let mut overlaps = Vec::new();
        for (n, (old, older)) in spans.iter().enumerate() {
            for (new, newer) in &spans[n + 1..] {
                // What was asked before the newer one's first answer may have been answered before it.
                let length = older.last_asked.saturating_duration_since(newer.first_ended);
                if !length.is_zero() {
                    overlaps.push(Overlap { old: old.clone(), new: new.clone(), length });
                }
            }
        }
        overlaps
    }

    fn spans(&self) -> Vec<(Answer, Span)> {
        let mut spans: BTreeMap<&Answer, Span> = BTreeMap::new();
        for sample in &self.samples {
            if let Ok(answer) = &sample.outcome {
                let span = Span { first_ended: sample.ended, last_asked: sample.asked, count: 0 };
                let span = spans.entry(answer).or_insert(span);
                span.first_ended = span.first_ended.min(sample.ended);
                span.last_asked = span.last_asked.max(sample.asked);
                span.count += 1;
            }
        }
        let mut spans: Vec<_> = spans.into_iter().map(|(answer, span)| (answer.clone(), span)).collect();
        spans.sort_by_key(|(_, span)| span.first_ended);
        spans
    }
}

/// The answers of one instance.
struct Span {
    first_ended: Instant,
    last_asked: Instant,
    count: usize,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Each: when asked (ms), who answered 1 ms later, or `-`.
    fn history(samples: &[(u64, &str)]) -> (Instant, History) {
        let start = Instant::now();
        let sample = |(at, who): &(u64, &str)| {
            let asked = start + Duration::from_millis(*at);
            let answer = Answer { server: (*who).to_owned(), pid: 0, epoch: 0 };
            let outcome = if *who == "-" { Err("refused".to_owned()) } else { Ok(answer) };
            Sample { asked, ended: asked + Duration::from_millis(1), outcome }
        };
        (start, History::new(samples.iter().map(sample).collect()))
    }

    #[test]
    fn an_outage_lasts_from_the_last_answer_to_the_next() {
        let (start, history) =
            history(&[(0, "kiki"), (5, "kiki"), (10, "-"), (15, "-"), (20, "lala"), (25, "lala")]);
        let gap =
            history.outage(start + Duration::from_millis(8), start + Duration::from_millis(30)).unwrap();
        assert_eq!(gap.to_string(), "15.0 ms from kiki to lala, 2 questions unanswered");
        assert_eq!(history.failed(), 2);
        assert!(history.overlaps().is_empty());
    }

    #[test]
    fn the_outage_of_a_later_fault_is_another_one() {
        let samples = [(0, "kiki"), (50, "kiki"), (55, "kiki"), (70, "lala"), (75, "lala")];
        let (start, history) = history(&samples);
        let gap =
            history.outage(start + Duration::from_millis(57), start + Duration::from_millis(80)).unwrap();
        assert_eq!(gap.length(), Duration::from_millis(15));
        assert_eq!(history.longest_gap().unwrap().length(), Duration::from_millis(50));
    }

    #[test]
    fn an_old_answer_after_a_new_one_is_an_overlap() {
        let (_, history) = history(&[(0, "kiki"), (5, "lala"), (10, "kiki"), (15, "lala")]);
        let overlaps = history.overlaps();
        assert_eq!(overlaps.len(), 1);
        assert_eq!((overlaps[0].old.server.as_str(), overlaps[0].length), ("kiki", Duration::from_millis(4)));
    }

    #[test]
    fn without_an_answer_after_it_there_is_no_outage_to_measure() {
        let (start, history) = history(&[(0, "kiki"), (5, "-"), (10, "-")]);
        assert_eq!(history.outage(start, start + Duration::from_millis(20)), None);
    }
}
