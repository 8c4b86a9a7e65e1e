//! The scripts without a server: they run in Lua 5.1, as servers do, and write what the core writes.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use fastrand::Rng;
use mlua::{Lua, LuaString, MultiValue, Table, Value, Variadic};
use ratelimit_conformance::one_of_each;
use ratelimit_core::{
    Action, Batch, Check, Key, Policy, Receipt, Timestamp, in_flight,
    store::{Decisions, Record, Slot, apply},
};

use crate::{
    connection::client::{Bytes, Reply},
    encoding::{self, Encoded},
    eval::{self, Evaluated, Step},
    keys::Keyspace,
    script::Script,
};

/// Random batches of all algorithms, at times that step back now and then.
// FAULTS 166.
#[test]
fn scripts_decide_and_write_as_the_core_does() {
    let policies = one_of_each(8);
    for seed in 0..20 {
        let mut random = Rng::with_seed(seed);
        let (server, mut core) = (Server::new(), Core::default());
        let mut now = START;
        for step in 0..200 {
            now = match random.u8(..10) {
                0 => now - (1 << random.u32(..24)),
                _ => now + (1 << random.u32(..24)),
            };
            let checks = checks(&mut random, &policies);
            let batch = Batch::new(&checks).expect("names differ");
            let action = match random.u8(..12) {
                0..6 => Action::Spend,
                6..8 => Action::Take,
                8..10 => Action::Peek,
                _ => Action::Refund,
            };

            let told = core.apply(batch, action, at(now));
            let found = server.step(batch, action, now);
            assert_eq!(found, Some(told), "seed {seed}, step {step}: {action:?} {checks:?}");
            core.compare(
                &server,
                batch,
                &format!("seed {seed}, step {step}: {action:?} {checks:?}"),
            );
        }
    }
}

/// Numbers change now and then, to and fro. What a script leaves to the core, the core does; that is
/// so for the changes themselves, and not while the numbers stay.
#[test]
fn scripts_leave_states_under_earlier_numbers_where_they_are() {
    let sets = [8, 5].map(one_of_each);
    let (mut scripted, mut kept, mut steps) = (0, 0, 0);
    for seed in 0..20 {
        let mut random = Rng::with_seed(seed);
        let (server, mut core) = (Server::new(), Core::default());
        let (mut now, mut set) = (START, 0);
        for step in 0..300 {
            now = match random.u8(..40) {
                0 => now - (1 << random.u32(..20)),
                _ => now + (1 << random.u32(..20)),
            };
            set = if random.u8(..30) == 0 { 1 - set } else { set };
            let checks = checks(&mut random, &sets[set]);
            let batch = Batch::new(&checks).expect("names differ");
            let actions = [Action::Spend, Action::Spend, Action::Take, Action::Refund];
            let action = actions[random.usize(..actions.len())];
            let context = format!("seed {seed}, step {step}: {action:?} {checks:?}");

            let (_, is_scripted) = step_both(&server, &mut core, (batch, action, now), &context);
            scripted += u32::from(is_scripted);
            steps += 1;
            let is_kept = |key: String| core.0.get(&key).is_some_and(|it| !it.earlier().is_empty());
            kept += u32::from(batch.slots().map(key).any(is_kept));
        }
    }
    assert!(steps / 2 < scripted && steps / 4 < kept, "{scripted}, {kept} of {steps}");
}

/// Steps both, by the script if it decides, and compares decisions and records. Returns the decisions, and
/// true if the script has decided.
fn step_both(
    server: &Server,
    core: &mut Core,
    (batch, action, now): (Batch<'_>, Action, u64),
    context: &str,
) -> (Decisions, bool) {
    let told = core.apply(batch, action, at(now));
    let found = server.step(batch, action, now);
    match &found {
        Some(found) => assert_eq!(*found, told, "{context}"),
        None => batch.slots().map(key).for_each(|key| server.put(&key, core.0.get(&key))),
    }
    core.compare(server, batch, context);
    (told, found.is_some())
}

/// Of any holders, also those that come twice or late. Holds of two lengths lie beside each other where a
/// limit has changed.
// FAULTS 166.
#[test]
fn scripts_hold_permits_and_give_them_back_as_the_core_does() {
    let (mut scripted, mut denied) = (0, 0);
    for seed in 0..40 {
        let mut random = Rng::with_seed(seed);
        let (server, mut core) = (Server::new(), Core::default());
        let of = |name: &str, seconds: u64| {
            let quota = in_flight::Quota::new(8, Duration::from_secs(seconds)).expect("in range");
            Policy::new(name, quota).expect("the name is good")
        };
        let sets = [[of("calls", 60), of("jobs", 60)], [of("calls", 7), of("jobs", 7)]];
        let (mut now, mut set, mut receipts) = (START, 0, Vec::new());
        for step in 0..300 {
            now = match random.u8(..20) {
                0 => now - (1 << random.u32(..26)),
                1..8 => now,
                _ => now + (1 << random.u32(..25)),
            };
            set = if random.u8(..40) == 0 { 1 - set } else { set };
            let actions = [
                Action::Spend,
                Action::Spend,
                Action::Spend,
                Action::Take,
                Action::Peek,
                Action::Refund,
                Action::Refund,
                Action::Extend,
            ];
            let action = actions[random.usize(..actions.len())];
            let count = random.usize(1..=2);
            let check = |policy| {
                let key = Key::new(["a", "b"][random.usize(..2)]).expect("it is short");
                let check = Check::new(policy, key, random.u64(1..=3)).expect("within the limit");
                let receipt = random.choice(&receipts).copied();
                check.with_receipt(receipt.filter(|_| action != Action::Spend && random.bool()))
            };
            let checks: Vec<_> = sets[set].iter().take(count).map(check).collect();
            let batch = Batch::new(&checks).expect("names differ");
            let context = format!("seed {seed}, step {step}: {action:?} {checks:?}");

            let (told, is_scripted) = step_both(&server, &mut core, (batch, action, now), &context);
            scripted += u32::from(is_scripted);
            denied += u32::from(!told.iter().all(|decision| decision.is_allowed()));
            if action == Action::Spend {
                let spent = checks.iter().zip(told.iter());
                receipts
                    .extend(spent.map(|(check, told)| {
                        Receipt::of(told, check.policy(), check.cost().get())
                    }));
            }
            if 16 < receipts.len() {
                receipts.swap_remove(random.usize(..receipts.len()));
            }
        }
    }
    assert!(10_000 < scripted && 1_000 < denied, "{scripted}, {denied} denied");
}

/// One to three checks, of different policies.
fn checks<'a>(random: &mut Rng, policies: &'a [Policy]) -> Vec<Check<'a>> {
    let mut policies: Vec<_> = policies.iter().collect();
    random.shuffle(&mut policies);
    let count = [1, 1, 1, 2, 3][random.usize(..5)];
    let check = |policy: &'a Policy| {
        let key = Key::new(["a", "b"][random.usize(..2)]).expect("it is short");
        let all = policy.limit();
        let cost = if random.u8(..8) == 0 { all } else { random.u64(1..=3).min(all) };
        Check::new(policy, key, cost).expect("a cost within the limit")
    };
    policies.into_iter().take(count).map(check).collect()
}

/// No multiple of anything.
const START: u64 = 1_700_000_012_345_678;

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros).expect("tests stay within representable time")
}

fn key(slot: Slot<'_>) -> String {
    Keyspace::new("test").expect("the name is good").key(slot)
}

/// The records as the core leaves them.
#[derive(Default)]
struct Core(HashMap<String, Record>);

impl Core {
    fn apply(&mut self, batch: Batch<'_>, action: Action, now: Timestamp) -> Decisions {
        let keys: Vec<_> = batch.slots().map(key).collect();
        let mut records: Vec<_> = keys.iter().map(|key| self.0.get(key).cloned()).collect();
        let decisions = apply(batch, action, &mut records, now).expect("policies stay the same");
        if action != Action::Peek {
            for (key, record) in keys.into_iter().zip(records) {
                match record {
                    Some(record) => drop(self.0.insert(key, record)),
                    None => drop(self.0.remove(&key)),
                }
            }
        }
        decisions
    }

    /// Compares byte for byte. Running totals of lists begin anywhere, so lists are read first.
    #[track_caller]
    fn compare(&self, server: &Server, batch: Batch<'_>, context: &str) {
        for slot in batch.slots() {
            let key = key(slot);
            let wanted = self.0.get(&key).map(|record| Encoded::new(record).flat);
            let found = match server.0.borrow().values.get(key.as_bytes()) {
                None => None,
                Some(Stored::String(bytes)) => Some(bytes.clone()),
                Some(Stored::List(elements)) => {
                    let flat = elements.iter().flatten().copied().collect::<Vec<_>>();
                    let record = encoding::read(&flat, None, slot.policy).expect("a record");
                    Some(Encoded::new(&record).flat)
                }
            };
            assert_eq!(found, wanted, "{context}: {key}");
        }
    }
}

/// A server that knows the commands of the scripts, and forgets nothing.
struct Server(Rc<RefCell<Data>>, Lua);

#[derive(Default)]
struct Data {
    values: HashMap<Vec<u8>, Stored>,
}

enum Stored {
    String(Vec<u8>),
    List(VecDeque<Vec<u8>>),
}

impl Server {
    fn new() -> Self {
        let (data, lua) = (Rc::new(RefCell::new(Data::default())), Lua::new());
        let redis = lua.create_table().expect("there is room");
        for (name, raises) in [("call", true), ("pcall", false)] {
            let data = Rc::clone(&data);
            let call = lua.create_function(move |lua, words: Variadic<LuaString>| {
                let words: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
                match data.borrow_mut().call(&words) {
                    Ok(reply) => reply.into_lua(lua),
                    Err(error) if raises => Err(mlua::Error::runtime(error)),
                    Err(error) => {
                        let table = lua.create_table()?;
                        table.set("err", error)?;
                        Ok(Value::Table(table))
                    }
                }
            });
            redis.set(name, call.expect("there is room")).expect("there is room");
        }
        lua.globals().set("redis", redis).expect("there is room");
        lua.globals().set("struct", structs(&lua)).expect("there is room");
        Self(data, lua)
    }

    /// Runs the script of a step, and has the core work out its decisions; `None` if it leaves the step
    /// to the core.
    fn step(&self, batch: Batch<'_>, action: Action, now: u64) -> Option<Decisions> {
        let Step { script, word, words } =
            Step::new(batch, action, at(now)).expect("scripts know these");
        let now = Bytes::from(now.to_string());
        let arguments = [now, Bytes::from_static(word.as_bytes())].into_iter().chain(words);
        let keys: Vec<_> = batch.slots().map(key).collect();
        let reply = self.run(script, &keys, &arguments.collect::<Vec<_>>());
        match eval::decide(&reply, batch, action).expect("a reply") {
            Evaluated::Decided(decisions) => Some(decisions),
            Evaluated::NotOwn | Evaluated::Changed(_) => None,
            Evaluated::Reserved => panic!("nobody else is here"),
            Evaluated::Outside(_) => panic!("the terms are of this time"),
        }
    }

    /// Stores a record, as a swap does.
    fn put(&self, key: &str, record: Option<&Record>) {
        let mut data = self.0.borrow_mut();
        let Some(record) = record else {
            data.values.remove(key.as_bytes());
            return;
        };
        let Encoded { flat, head } = Encoded::new(record);
        let stored = match head {
            0 => Stored::String(flat),
            head => {
                let elements = flat[head..].chunks(14).map(<[u8]>::to_vec);
                Stored::List([flat[..head].to_vec()].into_iter().chain(elements).collect())
            }
        };
        data.values.insert(key.as_bytes().to_vec(), stored);
    }

    fn run(&self, script: &Script, keys: &[String], arguments: &[Bytes]) -> Reply {
        let Self(_, lua) = self;
        let bytes = |bytes: &[u8]| lua.create_string(bytes).expect("there is room");
        let keys = lua.create_sequence_from(keys.iter().map(|key| bytes(key.as_bytes())));
        let arguments = lua.create_sequence_from(arguments.iter().map(|word| bytes(word)));
        lua.globals().set("KEYS", keys.expect("there is room")).expect("there is room");
        lua.globals().set("ARGV", arguments.expect("there is room")).expect("there is room");
        reply(lua.load(&*script.text).eval().expect("the script runs"))
    }
}

fn reply(value: Value) -> Reply {
    match value {
        Value::Integer(number) => Reply::Integer(number),
        #[expect(clippy::cast_possible_truncation, reason = "as servers do")]
        Value::Number(number) => Reply::Integer(number as i64),
        Value::String(bytes) => Reply::Bytes(Bytes::copy_from_slice(&bytes.as_bytes())),
        Value::Table(table) => {
            let parts = table.sequence_values::<Value>();
            Reply::Array(parts.map(|part| reply(part.expect("a value"))).collect())
        }
        _ => Reply::Other,
    }
}

/// A command's reply as scripts see it.
enum Answer {
    Nil,
    Number(i32),
    Bytes(Vec<u8>),
    Status(&'static str),
    List(Vec<Vec<u8>>),
}

impl Answer {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        Ok(match self {
            Self::Nil => Value::Boolean(false),
            Self::Number(number) => Value::Number(number.into()),
            Self::Bytes(bytes) => Value::String(lua.create_string(bytes)?),
            Self::Status(status) => {
                let table = lua.create_table()?;
                table.set("ok", status)?;
                Value::Table(table)
            }
            Self::List(list) => {
                let list: Result<Vec<_>, _> = list.iter().map(|it| lua.create_string(it)).collect();
                Value::Table(lua.create_sequence_from(list?)?)
            }
        })
    }
}

impl Data {
    fn call(&mut self, words: &[Vec<u8>]) -> Result<Answer, String> {
        let (name, words) = words.split_first().expect("a command has a name");
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        match (&name[..], &words[..]) {
            (b"TYPE", [key]) => Ok(Answer::Status(match self.values.get(*key) {
                None => "none",
                Some(Stored::String(_)) => "string",
                Some(Stored::List(_)) => "list",
            })),
            (b"GET", [key]) => match self.values.get(*key) {
                None => Ok(Answer::Nil),
                Some(Stored::String(bytes)) => Ok(Answer::Bytes(bytes.clone())),
                Some(Stored::List(_)) => Err("WRONGTYPE".to_owned()),
            },
            (b"SET", [key, value, b"PX", ttl]) => {
                assert!(0 < number(ttl), "a time to live");
                self.values.insert(key.to_vec(), Stored::String(value.to_vec()));
                Ok(Answer::Status("OK"))
            }
            (b"PTTL", [key]) => match self.values.get(*key) {
                None => Ok(Answer::Number(-2)),
                Some(_) => Ok(Answer::Number(1)),
            },
            (b"DEL", [key]) => Ok(Answer::Number(self.values.remove(*key).is_some().into())),
            (b"PEXPIRE", [key, ttl]) => {
                assert!(0 < number(ttl) && self.values.contains_key(*key), "a key to expire");
                Ok(Answer::Number(1))
            }
            (name, [key, rest @ ..]) => self.list(name, key, rest),
            _ => panic!("{words:?} is not known here"),
        }
    }

    fn list(&mut self, name: &[u8], key: &[u8], rest: &[&[u8]]) -> Result<Answer, String> {
        if name == b"RPUSH" {
            let empty = || Stored::List(VecDeque::new());
            self.values.entry(key.to_vec()).or_insert_with(empty);
        }
        let list = match self.values.get_mut(key) {
            None => &mut VecDeque::new(),
            Some(Stored::List(list)) => list,
            Some(Stored::String(_)) => return Err("WRONGTYPE".to_owned()),
        };
        let index = |word: &[u8]| match number(word) {
            back @ ..0 => list.len().checked_sub(back.unsigned_abs()),
            index => Some(index.unsigned_abs()),
        };
        Ok(match (name, rest) {
            (b"LLEN", []) => Answer::Number(length(list)),
            (b"LINDEX", [at]) => {
                index(at).and_then(|at| list.get(at)).cloned().map_or(Answer::Nil, Answer::Bytes)
            }
            (b"LRANGE", [first, last]) => {
                let (first, last) = (index(first).unwrap_or(0), index(last));
                let end = last.map_or(0, |last| last + 1).min(list.len());
                Answer::List(list.range(first.min(end)..end).cloned().collect())
            }
            (b"RPUSH", elements) => {
                list.extend(elements.iter().map(|element| element.to_vec()));
                Answer::Number(length(list))
            }
            (b"LSET", [at, element]) => {
                let at =
                    index(at).and_then(|at| list.get_mut(at)).ok_or("ERR index out of range")?;
                *at = element.to_vec();
                Answer::Status("OK")
            }
            (b"LTRIM", [first, last]) => {
                let (first, last) = (index(first).unwrap_or(0), index(last));
                list.truncate(last.map_or(0, |last| last + 1));
                list.drain(..first.min(list.len()));
                Answer::Status("OK")
            }
            _ => panic!("{} is not known here", String::from_utf8_lossy(name)),
        })
    }
}

fn length(list: &VecDeque<Vec<u8>>) -> i32 {
    list.len().try_into().expect("lists are short here")
}

fn number(word: &[u8]) -> isize {
    str::from_utf8(word).expect("digits").parse().expect("a whole number of so many digits")
}

/// The part of the server's `struct` that the scripts use: bytes and words, the greatest byte first.
fn structs(lua: &Lua) -> Table {
    let pack = lua.create_function(|lua, (format, values): (String, Variadic<f64>)| {
        let mut bytes = Vec::new();
        for (width, value) in widths(&format).into_iter().zip(values.iter()) {
            let whole = value.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(value);
            assert!(whole, "{value} is no exact number");
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole")]
            bytes.extend(&(*value as u64).to_be_bytes()[8 - width..]);
        }
        lua.create_string(bytes)
    });
    let unpack =
        lua.create_function(|_, (format, bytes, position): (String, LuaString, Option<usize>)| {
            let (bytes, mut at) = (bytes.as_bytes(), position.unwrap_or(1) - 1);
            let mut values = Vec::new();
            for width in widths(&format) {
                let part = bytes.get(at..at + width);
                let part = part.ok_or_else(|| mlua::Error::runtime("data string too short"))?;
                let whole = part.iter().fold(0, |whole, &byte| whole << 8 | u64::from(byte));
                #[expect(clippy::cast_precision_loss, reason = "as in Lua")]
                values.push(Value::Number(whole as f64));
                at += width;
            }
            #[expect(clippy::cast_precision_loss, reason = "positions are small")]
            values.push(Value::Number((at + 1) as f64));
            Ok(MultiValue::from_vec(values))
        });
    let table = lua.create_table().expect("there is room");
    table.set("pack", pack.expect("there is room")).expect("there is room");
    table.set("unpack", unpack.expect("there is room")).expect("there is room");
    table
}

/// The widths in bytes of a format as `>BI7I7`.
fn widths(format: &str) -> Vec<usize> {
    let parts = format.strip_prefix('>').expect("the greatest byte comes first");
    let digit = |part: char| part.to_digit(10).map(|digit| digit as usize);
    parts.chars().filter(|part| *part != 'I').map(|part| digit(part).unwrap_or(1)).collect()
}
