-- A load sensor, mirrors `Sensor` in ratelimit-core/src/sensor.rs: the number of the sub-window
-- of its newest count, then 64 counts, newest first.

local KEPT, COUNT_MAX = 64, 4294967295
local SENSOR_WORDS, SENSOR = 1 + KEPT, '>' .. ('I7'):rep(1 + KEPT)
local EMPTY_SENSOR = ('\0'):rep(7 * SENSOR_WORDS)

-- Sensors that keys share, by the index of their key in KEYS.
local sensors = {}

-- Mirrors `rewind`.
local function pull_back(sensor, number)
  local late, moved = min(sensor[1] - number, KEPT), 0
  for i = 2, 1 + late do moved = moved + sensor[i] end
  for i = 2, SENSOR_WORDS do sensor[i] = sensor[i + late] or 0 end
  sensor[1], sensor.changed = number, true
  sensor[2] = min(sensor[2] + min(moved, COUNT_MAX), COUNT_MAX)
end

-- Opens the sensor at a position of a value, rewound to the present sub-window.
local function open_sensor(value, position, present)
  local sensor = {unpack_words(SENSOR, value, position)}
  sensor[SENSOR_WORDS + 1] = nil
  for i = 2, SENSOR_WORDS do damaged = damaged or COUNT_MAX < sensor[i] end
  damaged = damaged or EXACT_MAX < sensor[1]
  if present < sensor[1] then pull_back(sensor, present) end
  return sensor
end

-- Mirrors `admitted`.
local function admitted(sensor, number)
  local sum = 0
  for i = 2, SENSOR_WORDS - max(number - sensor[1], 0) do sum = sum + sensor[i] end
  return sum
end

-- Mirrors `record`.
local function record(sensor, number)
  local passed = min(max(number - sensor[1], 0), KEPT)
  if 0 < passed then
    for i = SENSOR_WORDS, 2, -1 do sensor[i] = i - passed < 2 and 0 or sensor[i - passed] end
  end
  sensor[1], sensor.changed = max(sensor[1], number), true
  sensor[2] = min(sensor[2] + 1, COUNT_MAX)
end

-- Mirrors `open_sensor` and `close_sensor` in ratelimit-core/src/meter.rs.
local function shared_sensor(key, header, terms, index)
  local sub_window = unpack_words('>I7', terms, 22)
  local found = read(key, header, SENSOR_WORDS)
  local sensor = open_sensor(found or EMPTY_SENSOR, found and #header + 1 or 1,
    floor(now / sub_window))
  sensors[index] = sensor

  local function write()
    if sensor.changed then
      local value = header .. pack(SENSOR, unpack(sensor))
      call('SET', key, value, 'PX', ms(KEPT * sub_window))
    end
  end
  return found, true, write, nil, write
end
