//! The measures of single streams, by hand.

use super::*;

/// A stream of tokens, and of other events where the time is negative.
fn measured(events: &[i64]) -> Vec<(Measure, u64)> {
    let mut track = Track::begun(events[0].unsigned_abs());
    let mut samples = Vec::new();
    for &event in events {
        match event {
            0.. => samples.extend(track.token(event.unsigned_abs(), [0])),
            _ => track.event(event.unsigned_abs()),
        }
    }
    samples.extend(track.ended());
    samples.into_iter().map(|sample| (sample.measure, sample.value)).collect()
}

#[test]
fn a_session_is_measured_from_its_opening() {
    use Measure::*;
    let expected = [
        (TimeToFirstToken, 300),
        (InterToken, 50),
        (InterToken, 60),
        (TimePerOutputToken, 55),
        (SessionLength, 1900),
        (SessionRate, 3 * 1_000_000_000_000 / 410),
    ];
    // Opened, something else, three tokens, closed.
    assert_eq!(measured(&[-100, -250, 400, 450, 510, -2000]), expected);
}

#[test]
fn what_cannot_be_measured_has_no_value() {
    use Measure::*;
    assert_eq!(measured(&[500]), []);
    assert_eq!(measured(&[-500]), []);
    assert_eq!(measured(&[-500, -700]), [(SessionLength, 200)]);
    let rate = (SessionRate, 2 * 1_000_000_000_000 / 100);
    assert_eq!(measured(&[500, 600]), [(InterToken, 100), (TimePerOutputToken, 100), (SessionLength, 100), rate]);
    // Two at a time, and one from before: no rate where no time passed.
    assert_eq!(measured(&[500, 500]), [(InterToken, 0), (TimePerOutputToken, 0), (SessionLength, 0)]);
    assert_eq!(measured(&[500, 400]), [(InterToken, 0), (TimePerOutputToken, 0), (SessionLength, 0)]);
}

#[test]
fn each_answer_is_measured_by_itself() {
    let mut track = Track::begun(100);
    let mut samples = Vec::new();
    for (start, tokens) in [(100, [200, 210, 220]), (5000, [5300, 5330, 5360])] {
        track.event(start);
        tokens.into_iter().for_each(|time| samples.extend(track.token(time, [0])));
        samples.extend(track.end_answer());
    }
    // One that begins with its token, and nothing between it and the end.
    samples.extend(track.token(9000, [0]));
    samples.extend(track.ended());
    let values: Vec<_> = samples.iter().map(|sample| (sample.measure, sample.value)).collect();
    use Measure::*;
    let answer =
        |first, each| [(TimeToFirstToken, first), (InterToken, each), (InterToken, each), (TimePerOutputToken, each)];
    let session = [(SessionLength, 8900), (SessionRate, 7 * 1_000_000_000_000 / 8900)];
    assert_eq!(values, [&answer(100, 10)[..], &answer(300, 30), &session].concat());
}

#[test]
fn each_choice_of_an_answer_is_measured_by_itself() {
    let mut track = Track::begun(100);
    let mut samples = Vec::new();
    track.event(100);
    for (time, choices) in [(200, &[0][..]), (250, &[1]), (300, &[0, 1]), (400, &[1]), (1000, &[0])] {
        samples.extend(track.token(time, choices.iter().copied()));
    }
    samples.extend(track.end_answer());
    let values: Vec<_> = samples.iter().map(|sample| (sample.measure, sample.value)).collect();
    use Measure::*;
    let expected = [
        (TimeToFirstToken, 100),
        (TimeToFirstToken, 150),
        (InterToken, 100),
        (InterToken, 50),
        (InterToken, 100),
        (InterToken, 700),
        (TimePerOutputToken, 400),
        (TimePerOutputToken, 75),
    ];
    assert_eq!((values, track.tokens()), (expected.to_vec(), 6));
}

#[test]
fn a_part_of_a_stream_has_its_answers() {
    use Measure::*;
    let (mut whole, mut part) = (Track::begun(100), None);
    let mut values = Vec::new();
    for (start, tokens) in [(100, [200, 210]), (5000, [5300, 5330])] {
        whole.event(start);
        for time in tokens {
            let part = part.get_or_insert_with(|| Track::within(&whole));
            let mut samples: Vec<_> = part.follow(&whole).collect();
            samples.extend(part.token(time, [0]));
            values.extend(samples.iter().map(|sample| (sample.measure, sample.value)));
            whole.token(time, [0]).for_each(drop);
        }
        whole.end_answer().for_each(drop);
    }
    values.extend(part.expect("a part").ended().map(|sample| (sample.measure, sample.value)));
    let answer = |first, each| [(TimeToFirstToken, first), (InterToken, each), (TimePerOutputToken, each)];
    let session = [(SessionLength, 5230), (SessionRate, 4 * 1_000_000_000_000 / 5230)];
    assert_eq!(values, [&answer(100, 10)[..], &answer(300, 30), &session].concat());
}
