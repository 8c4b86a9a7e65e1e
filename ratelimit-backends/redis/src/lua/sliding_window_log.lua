-- Mirrors ratelimit-core/src/algorithm/sliding_window_log.rs.

local function sliding_window_log(key, header, terms)
  local TERMS, cost = unpack_terms(terms)
  local log = open_log(key, header, 1, window)
  local function write() save(log, header .. pack('>I7', log.base), window) end

  local pulled = log.pulled and write
  if refunds then
    local refund = 0 < log.used and function()
      take(log, cost)
      write()
    end
    local last = cost < log.used and leaves(log, cost)
    return show(log, header, '', last), true, refund or pulled
  end

  local is_full = entries_max <= log.size - log.gone and log.at ~= now
  if takes then cost = part(cost, is_full and 0 or limit - log.used) end
  local excess = limit < log.used + cost
  local found = show(log, header, '', excess and leaves(log, limit - cost))
  return found, not excess and not is_full, function()
    push(log, cost)
    write()
  end, window, pulled
end
