//! Who visits the shop, and on what.

use serde_json::{Value, json};

use super::{catalogue::Cart, dice::Dice, wire::Client};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceKind {
    Desktop,
    Mobile,
    Tablet,
}

impl DeviceKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Mobile => "mobile",
            Self::Tablet => "tablet",
        }
    }
}

/// A kind of device with one browser on it.
pub(super) struct Model {
    pub(super) kind: DeviceKind,
    /// Whether its browser is Apple's.
    pub(super) safari: bool,
    pub(super) user_agent: &'static str,
    /// Width and height in CSS pixels.
    pub(super) screen: [i64; 2],
    /// Width and height in CSS pixels.
    pub(super) viewport: [i64; 2],
}

const fn model(
    kind: DeviceKind,
    safari: bool,
    screen: [i64; 2],
    viewport: [i64; 2],
    user_agent: &'static str,
) -> Model {
    Model {
        kind,
        safari,
        user_agent,
        screen,
        viewport,
    }
}

use DeviceKind::{Desktop, Mobile, Tablet};

/// Devices with their weights; the weights of each kind add up to 100.
#[rustfmt::skip]
pub(super) static MODELS: [(Model, f64); 17] = [
    (model(Mobile, true, [393, 852], [393, 659], "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"), 30.0),
    (model(Mobile, true, [390, 844], [390, 664], "Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.7 Mobile/15E148 Safari/604.1"), 18.0),
    (model(Mobile, true, [430, 932], [430, 739], "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1"), 12.0),
    (model(Mobile, false, [412, 915], [412, 785], "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Mobile Safari/537.36"), 26.0),
    (model(Mobile, false, [360, 780], [360, 647], "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36"), 10.0),
    (model(Mobile, false, [412, 892], [412, 756], "Mozilla/5.0 (Android 15; Mobile; rv:142.0) Gecko/142.0 Firefox/142.0"), 4.0),
    (model(Desktop, false, [1920, 1080], [1903, 945], "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36"), 34.0),
    (model(Desktop, false, [1536, 864], [1519, 730], "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36 Edg/139.0.0.0"), 14.0),
    (model(Desktop, false, [2560, 1440], [1905, 1290], "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0"), 14.0),
    (model(Desktop, true, [1512, 982], [1440, 789], "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15"), 18.0),
    (model(Desktop, false, [1728, 1117], [1512, 860], "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36"), 12.0),
    (model(Desktop, false, [1920, 1200], [1853, 1011], "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0"), 5.0),
    (model(Desktop, false, [1366, 768], [1349, 625], "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36"), 3.0),
    (model(Tablet, true, [820, 1180], [820, 1106], "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"), 55.0),
    (model(Tablet, true, [768, 1024], [768, 954], "Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.7 Mobile/15E148 Safari/604.1"), 15.0),
    (model(Tablet, false, [800, 1280], [800, 1120], "Mozilla/5.0 (Linux; Android 14; SM-X210) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36"), 20.0),
    (model(Tablet, false, [962, 601], [962, 489], "Mozilla/5.0 (Linux; Android 13; Lenovo TB-X606F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"), 10.0),
];

/// One browser that somebody owns.
pub(super) struct Device {
    pub(super) model: &'static Model,
    /// What the tracker keeps in the browser.
    pub(super) client: Client,
    pub(super) cart: Cart,
    /// Whether two people use it.
    pub(super) shared: bool,
}

/// One human being. What the shop knows about it grows with its visits.
pub(super) struct Person {
    /// The id the shop gives a customer.
    pub(super) user_id: String,
    /// Positions in [`Population::devices`]; the first is used most.
    pub(super) devices: Vec<usize>,
    /// People who share a device share a household.
    pub(super) household: usize,
    /// How often it comes, at most.
    pub(super) visits_wanted: u32,
    /// How readily it buys: 1 is the mean.
    pub(super) appetite: f64,
    /// Comes for the `spring-deal` alone.
    pub(super) spring_deal: bool,
    pub(super) newsletter: bool,
    pub(super) has_account: bool,
    pub(super) orders: u32,
    city_size: &'static str,
    age_band: &'static str,
}

impl Person {
    /// Returns what the shop tells about a customer when it identifies one.
    pub(super) fn attributes(&self) -> Value {
        let plan = match self.orders {
            0..=1 => "basic",
            2..=3 => "club",
            _ => "club_plus",
        };
        json!({
            "plan": plan,
            "newsletter": self.newsletter,
            "city_size": self.city_size,
            "age_band": self.age_band,
            "orders_count": self.orders,
        })
    }
}

/// Everybody, with their devices.
pub(super) struct Population {
    pub(super) people: Vec<Person>,
    pub(super) devices: Vec<Device>,
}

/// Most visits one person is given.
const VISITS_MAX: u32 = 60;
const SPRING_DEAL_SHARE: f64 = 0.14;
const SHARED_DEVICE_SHARE: f64 = 0.03;

impl Population {
    /// Makes `count` people. `with_campaign` tells whether the time of `spring-deal` is part of the data set.
    pub(super) fn new(dice: &mut Dice, count: u32, with_campaign: bool) -> Self {
        let mut population = Self {
            people: Vec::new(),
            devices: Vec::new(),
        };
        for number in 0..count {
            let spring_deal = with_campaign && dice.chance(SPRING_DEAL_SHARE);
            population.add_person(dice, number, spring_deal);
        }
        population
    }

    fn add_person(&mut self, dice: &mut Dice, number: u32, spring_deal: bool) {
        let shares = !self.people.is_empty() && !spring_deal && dice.chance(SHARED_DEVICE_SHARE);
        let (household, devices) = if shares {
            self.join_household(dice)
        } else {
            self.found_household(dice)
        };
        let visits_wanted = if spring_deal {
            1 + u32::from(dice.chance(0.2))
        } else {
            dice.heavy_tailed_count(VISITS_MAX)
        };
        self.people.push(Person {
            user_id: format!("customer-{}", 10_000 + number),
            devices,
            household,
            visits_wanted,
            appetite: dice.weighted(&[(0.2, 40.0), (1.0, 40.0), (2.6, 20.0)]),
            spring_deal,
            newsletter: dice.chance(0.3),
            has_account: !spring_deal && dice.chance(0.2),
            orders: 0,
            city_size: dice.weighted(&[
                ("village", 18.0),
                ("town", 27.0),
                ("city", 33.0),
                ("metropolis", 22.0),
            ]),
            age_band: dice.weighted(&[
                ("18-24", 14.0),
                ("25-34", 30.0),
                ("35-49", 32.0),
                ("50-64", 18.0),
                ("65+", 6.0),
            ]),
        });
    }

    /// Uses the first device of the newest person, and perhaps another of its own.
    fn join_household(&mut self, dice: &mut Dice) -> (usize, Vec<usize>) {
        let newest = self.people.last().expect("there is somebody to join");
        let (household, shared) = (newest.household, newest.devices[0]);
        self.devices[shared].shared = true;
        let mut devices = vec![shared];
        if dice.chance(0.5) {
            devices.push(self.add_device(dice, DeviceKind::Mobile));
        }
        (household, devices)
    }

    fn found_household(&mut self, dice: &mut Dice) -> (usize, Vec<usize>) {
        let first = dice.weighted(&[(Mobile, 54.0), (Desktop, 39.0), (Tablet, 7.0)]);
        let mut devices = vec![self.add_device(dice, first)];
        if dice.chance(0.38) {
            let second = if first == Mobile { Desktop } else { Mobile };
            devices.push(self.add_device(dice, second));
        }
        if devices.len() == 2 && dice.chance(0.2) {
            devices.push(self.add_device(dice, Tablet));
        }
        (self.people.len(), devices)
    }

    fn add_device(&mut self, dice: &mut Dice, kind: DeviceKind) -> usize {
        let model = pick_model(dice, kind);
        self.devices.push(Device {
            model,
            client: Client::default(),
            cart: Cart::default(),
            shared: false,
        });
        self.devices.len() - 1
    }
}

/// Returns a device of that kind, the common ones more often.
pub(super) fn pick_model(dice: &mut Dice, kind: DeviceKind) -> &'static Model {
    let weights: Vec<f64> = MODELS
        .iter()
        .map(|(model, weight)| if model.kind == kind { *weight } else { 0.0 })
        .collect();
    &MODELS[dice.weighted_position(&weights)].0
}
