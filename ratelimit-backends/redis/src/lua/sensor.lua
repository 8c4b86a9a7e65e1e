-- A load sensor, mirrors `Sensor` in ratelimit-core/src/state/sensor.rs: the number of the sub-window
-- of its newest count, then 64 counts, newest first.

local KEPT, COUNT_MAX = 64, 4294967295
local SENSOR_WORDS, SENSOR = 1 + KEPT, '>' .. ('I7'):rep(1 + KEPT)

-- Sensors that keys share, by the index of their key in KEYS.
local sensors = {}

-- Mirrors `rewind`.
local function pull_back(sensor, number)
  local late, moved = min(sensor[1] - number, KEPT), 0
  for i = 2, 1 + late do
    moved = moved + sensor[i]
    damaged = damaged or COUNT_MAX < sensor[i]
  end
  for i = 2, SENSOR_WORDS do sensor[i] = sensor[i + late] or 0 end
  sensor[1], sensor.changed = number, true
  sensor[2] = min(sensor[2] + min(moved, COUNT_MAX), COUNT_MAX)
  sensor.packed = pack(SENSOR, unpack(sensor))
end

-- Opens a sensor, packed or empty, rewound to the present sub-window. It stays packed, for most
-- often a few of its bytes change; beside that it has its number and, where the counts were, how
-- many they are together up to and with each.
local function open_sensor(packed, present)
  packed = packed or ('\0'):rep(7 * SENSOR_WORDS)
  local sensor = {unpack_words(SENSOR, packed)}
  sensor[SENSOR_WORDS + 1] = nil
  sensor.packed = packed
  local largest, sum = 0, 0
  if present < sensor[1] then
    damaged = damaged or EXACT_MAX < sensor[1]
    pull_back(sensor, present)
  end
  for i = 2, SENSOR_WORDS do
    local count = sensor[i]
    if largest < count then largest = count end
    sum = sum + count
    sensor[i] = sum
  end
  damaged = damaged or COUNT_MAX < largest
  return sensor
end

-- Mirrors `admitted`.
local function admitted(sensor, number)
  local last = SENSOR_WORDS - max(number - sensor[1], 0)
  return 1 < last and sensor[last] or 0
end

-- Mirrors `record`. What was admitted is not asked for after it.
local function record(sensor, number)
  local passed = min(max(number - sensor[1], 0), KEPT)
  local count = passed == 0 and min(sensor[2] + 1, COUNT_MAX) or 1
  local kept = sensor.packed:sub(passed == 0 and 15 or 8, 7 * (SENSOR_WORDS - passed))
  sensor[1], sensor[2], sensor.changed = max(sensor[1], number), count, true
  sensor.packed = pack('>I7I7', sensor[1], count) .. ('\0'):rep(7 * (passed - 1)) .. kept
end

-- Mirrors `Shared` in ratelimit-core/src/step.rs.
local function shared_sensor(key, header, terms, index)
  local TERMS = unpack_terms(terms)
  local found = read(key, header, SENSOR_WORDS)
  local sensor = open_sensor(found and found:sub(#header + 1), floor(now / sub_window))
  sensors[index] = sensor

  local function write()
    if sensor.changed then
      call('SET', key, header .. sensor.packed, 'PX', ms(KEPT * sub_window))
    end
  end
  return found, true, write, KEPT * sub_window, sensor.changed and write
end
