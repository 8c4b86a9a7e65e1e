//! A server that runs the scripts in Lua 5.1, as servers do, and knows the commands that they use.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use mlua::{Lua, LuaString, MultiValue, Table, Value, Variadic};
use ratelimit_core::{
    Action, Batch, Policy, Timestamp,
    store::{Decisions, Record, Slot},
};

use crate::{
    connection::client::{Bytes, Reply},
    encoding::{self, Encoded},
    eval::{self, Evaluated, Step},
    keys::Keyspace,
    script::Script,
};

/// A server that knows the commands of the scripts, and forgets nothing.
pub(super) struct Server(Rc<RefCell<Data>>, Lua);

#[derive(Default)]
struct Data {
    values: HashMap<Vec<u8>, Stored>,
}

enum Stored {
    String(Vec<u8>),
    List(VecDeque<Vec<u8>>),
}

impl Server {
    pub(super) fn new() -> Self {
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
    pub(super) fn step(
        &self,
        batch: Batch<'_>,
        action: Action,
        now: Timestamp,
    ) -> Option<Decisions> {
        let Step { script, word, words } =
            Step::new(batch, action, now).expect("scripts know these");
        let now = Bytes::from(now.as_micros().to_string());
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
    pub(super) fn put(&self, key: &str, record: Option<&Record>) {
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

    /// The value under a key, as a record of `policy` is encoded. Running totals of lists begin anywhere, so
    /// lists are read first.
    pub(super) fn flat(&self, key: &str, policy: &Policy) -> Option<Vec<u8>> {
        match self.0.borrow().values.get(key.as_bytes())? {
            Stored::String(bytes) => Some(bytes.clone()),
            Stored::List(elements) => {
                let flat = elements.iter().flatten().copied().collect::<Vec<_>>();
                let record = encoding::read(&flat, None, policy).expect("a record");
                Some(Encoded::new(&record).flat)
            }
        }
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

/// The key of a slot.
pub(super) fn key(slot: Slot<'_>) -> String {
    Keyspace::new("test").expect("the name is good").key(slot)
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
