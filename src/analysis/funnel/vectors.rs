//! The rules of counting as examples, which are also a page of the documentation.

use super::{
    definition::{CountBy, EventMatchIn, FunnelDefinition, Order, StepIn},
    matching::Plan,
    people::{StepOutcome, find_people},
    walk::Walker,
};
use crate::{
    analysis::scope::Scope,
    index::{Micros, testing::Story},
};

/// One example. Times are in seconds, but for `B(T)`, at the end of the window, and `B(T+1µs)`, just after it.
struct Vector {
    /// Event types, in the order of the steps; `?` marks one that may be left out. `A>3` must be left within 3 seconds,
    /// `A<3` not before 3 seconds.
    steps: &'static str,
    order: Order,
    window_seconds: i64,
    exclude: Option<&'static str>,
    events: &'static str,
    /// Steps done; `None` for somebody who is removed.
    expected: Option<usize>,
    why: &'static str,
}

const DAY: i64 = 24 * 60 * 60;

/// An ordinary example.
const fn ordered(
    steps: &'static str,
    window_seconds: i64,
    events: &'static str,
    expected: usize,
    why: &'static str,
) -> Vector {
    Vector {
        steps,
        order: Order::Ordered,
        window_seconds,
        exclude: None,
        events,
        expected: Some(expected),
        why,
    }
}

const fn strict(vector: Vector) -> Vector {
    Vector {
        order: Order::Strict,
        ..vector
    }
}

const fn unordered(vector: Vector) -> Vector {
    Vector {
        order: Order::Unordered,
        ..vector
    }
}

const fn excluding(exclude: &'static str, expected: Option<usize>, vector: Vector) -> Vector {
    Vector {
        exclude: Some(exclude),
        expected,
        ..vector
    }
}

const VECTORS: &[Vector] = &[
    ordered("A B", DAY, "A0 B1", 2, "One after the other."),
    ordered("A B", DAY, "A0 B0", 2, "Equal times count as ordered."),
    ordered("A B", DAY, "B0 A0", 2, "Whichever was written down first."),
    ordered("A B", DAY, "B0 A1", 1, "The second step came before the first."),
    ordered("A B", DAY, "B0", 0, "Nobody enters but by the first step."),
    ordered(
        "A B",
        2,
        "A0 A5 B6",
        2,
        "A match of the first step opens a newer chain.",
    ),
    ordered(
        "A B C",
        20,
        "A0 B1 A9 C10",
        3,
        "A newer entry does not end an older chain.",
    ),
    ordered("A B C", DAY, "A0 B1 C(T)", 3, "The window is inclusive."),
    ordered(
        "A B C",
        DAY,
        "A0 B1 C(T+1µs)",
        2,
        "Just after the window, the furthest step reached counts.",
    ),
    ordered(
        "A B C",
        10,
        "A0 B9 C11",
        2,
        "The window is measured from the entry, not from the step before.",
    ),
    ordered("A B", DAY, "A0 X1 B2", 2, "Other events may lie between."),
    ordered("A A", DAY, "A0", 1, "One event serves one step."),
    ordered("A A", DAY, "A0 A1", 2, "The same step twice needs two events."),
    ordered("A A", DAY, "A0 A0", 2, "They may be simultaneous."),
    ordered(
        "A B A",
        DAY,
        "A0 B0 A0",
        3,
        "Simultaneous events are taken in the order of the steps.",
    ),
    strict(ordered(
        "A B",
        DAY,
        "A0 X1 B2",
        1,
        "In a strict funnel any other event resets the chain.",
    )),
    strict(ordered(
        "A B",
        DAY,
        "A0 A1 B2",
        2,
        "A further match of the first step opens a new chain.",
    )),
    strict(ordered(
        "A A",
        DAY,
        "A0 A1",
        2,
        "The second is the next step, and opens a chain, too.",
    )),
    strict(ordered(
        "A B C",
        DAY,
        "A0 B1 X2 A3 B4 C5",
        3,
        "Reset, then entered once more.",
    )),
    strict(ordered(
        "A B C",
        DAY,
        "A0 B1 X1 C2",
        2,
        "Something else at the same time as B lies before or after it, either way between.",
    )),
    strict(ordered(
        "A B",
        DAY,
        "X0 A0 B1",
        2,
        "Something else at the time of the entry may have been before it.",
    )),
    unordered(ordered("A B C", DAY, "C0 A1 B2", 3, "Any order will do.")),
    unordered(ordered(
        "A B C",
        2,
        "C0 A1 B3",
        2,
        "The first of them opens the window.",
    )),
    unordered(ordered(
        "A B C",
        2,
        "C0 A1 B3 C3",
        3,
        "A newer opening counts: A, then B and C.",
    )),
    unordered(ordered(
        "A B C",
        DAY,
        "B0 B1",
        1,
        "A step done twice is done once.",
    )),
    unordered(ordered(
        "A A",
        DAY,
        "A0 A1",
        2,
        "The same step twice needs two events, here too.",
    )),
    ordered(
        "A B? C",
        DAY,
        "A0 C1",
        3,
        "A step that may be left out never blocks.",
    ),
    ordered("A B? C", DAY, "A0 B1", 2, "Done, it counts as reached."),
    strict(ordered(
        "A B? C",
        DAY,
        "A0 B1 C2",
        3,
        "In a strict funnel it is no other event.",
    )),
    ordered(
        "A>3 B",
        DAY,
        "A0 B3",
        2,
        "Left within the longest time on the step, inclusive.",
    ),
    ordered("A>3 B", DAY, "A0 B4", 1, "Left too late."),
    ordered(
        "A<3 B",
        DAY,
        "A0 B2 B3",
        2,
        "B at 2 came too early, B at 3 did not.",
    ),
    ordered(
        "A<3 B",
        DAY,
        "A0 A2 B4",
        2,
        "The newer entry is too new, the older one is not.",
    ),
    excluding(
        "X",
        None,
        ordered(
            "A B",
            DAY,
            "A0 X1 B2",
            0,
            "An exclusion between the steps removes the actor.",
        ),
    ),
    excluding(
        "X",
        Some(1),
        ordered(
            "A B",
            DAY,
            "A0 X1",
            0,
            "After the last step that was done it lies between none.",
        ),
    ),
    excluding(
        "X",
        Some(2),
        ordered(
            "A B",
            DAY,
            "X0 A0 B1 X1",
            0,
            "At the very time of the entry or of the last step neither.",
        ),
    ),
    excluding(
        "X",
        Some(2),
        ordered(
            "A B",
            DAY,
            "A0 X1 A2 B3",
            0,
            "B extends the newest chain, which began after it.",
        ),
    ),
    excluding(
        "X",
        None,
        ordered(
            "A B",
            DAY,
            "A0 X1 B2 A3 B4",
            0,
            "A later chain without one does not bring the actor back.",
        ),
    ),
    excluding(
        "X",
        Some(2),
        ordered(
            "A B",
            DAY,
            "A0 B1 X2 B3",
            0,
            "B was done before; the second B extends nothing.",
        ),
    ),
];

impl Vector {
    fn definition(&self) -> FunnelDefinition {
        let step = |(at, text): (usize, &str)| {
            let name = &text[..1];
            let seconds = |sign: char| text.split_once(sign).map(|(_, seconds)| seconds.parse().unwrap());
            StepIn {
                number: at as i64 + 1,
                name: name.to_owned(),
                event_type: Some(name.to_lowercase()),
                page: None,
                conditions: vec![],
                optional: text.ends_with('?'),
                min_seconds: seconds('<'),
                max_seconds: seconds('>'),
            }
        };
        let exclude = self.exclude.map(|name| EventMatchIn {
            event_type: Some(name.to_lowercase()),
            page: None,
            conditions: vec![],
        });
        FunnelDefinition {
            steps: self.steps.split(' ').enumerate().map(step).collect(),
            window_seconds: self.window_seconds,
            order: self.order,
            count_by: CountBy::Person,
            exclude: exclude.into_iter().collect(),
            sessions: vec![],
        }
    }

    fn events(&self) -> Vec<(Micros, String)> {
        let event = |text: &str| {
            let end = self.window_seconds * 1_000_000;
            let time = match &text[1..] {
                "(T)" => end,
                "(T+1µs)" => end + 1,
                seconds => seconds.parse::<Micros>().unwrap() * 1_000_000,
            };
            (time, text[..1].to_lowercase())
        };
        self.events.split(' ').map(event).collect()
    }

    /// Counts by way of the index, as an analysis does. `None` for somebody who is removed.
    fn answer(&self) -> Option<usize> {
        let events = self.events();
        let rows: Vec<_> = events
            .iter()
            .map(|(time, name)| (*time, name.as_str(), ""))
            .collect();
        let mut story = Story::default();
        story.visit(1, &rows);
        let view = story.view();
        let funnel = self.definition().check().unwrap();
        let plan = Plan::new(&funnel, &Scope::of_time(0, 1 << 50), &view.names());
        let reached = |step| find_people(&view, &plan, step, StepOutcome::Entered).len() == 1;
        let furthest = (0..funnel.steps.len()).rev().find(|step| reached(*step));
        if furthest.is_some() {
            return furthest.map(|step| step + 1);
        }
        let mut walker = Walker::new(&plan);
        let mut removed = false;
        walker.walk(view.find(1).unwrap(), |_| removed = true);
        (!removed).then_some(0)
    }
}

#[test]
fn every_vector_counts_as_it_says() {
    for vector in VECTORS {
        let (events, why) = (vector.events, vector.why);
        assert_eq!(vector.answer(), vector.expected, "{events}: {why}");
    }
}

fn page() -> String {
    let mut text = String::from(
        "# Funnel vectors\n\n\
         The rules of [funnels](funnels.md) as examples. A test counts each of them and holds this page to what the code \
         says (`src/analysis/funnel/vectors.rs`).\n\n\
         Events are written as type and time in seconds: `A0 B1` is an A at 0 s and a B at 1 s. T is the window. In steps, \
         `B?` may be left out, `A>3` must be left within 3 seconds, `A<3` not before 3 seconds.\n\n\
         | steps | order | T | exclude | events | steps done | why |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for vector in VECTORS {
        let order = serde_json::to_value(vector.order).unwrap();
        let window = match vector.window_seconds {
            DAY => "1 day".to_owned(),
            seconds => format!("{seconds} s"),
        };
        let expected = vector
            .expected
            .map_or("removed".to_owned(), |steps| steps.to_string());
        text += &format!(
            "| `{}` | {} | {window} | {} | `{}` | {expected} | {} |\n",
            vector.steps,
            order.as_str().unwrap(),
            vector.exclude.unwrap_or(""),
            vector.events,
            vector.why,
        );
    }
    text
}

#[test]
fn the_page_of_the_documentation_holds_these_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/analysis/funnel-vectors.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/analysis")).unwrap();
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page(),
        "run this test with UPDATE_DOCS=1 to write the page anew"
    );
}
