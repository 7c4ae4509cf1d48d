-- One request to the origin for everybody who waits for the same object, and nobody woken late.
--
-- The first request for an object, the leader, fetches it by a subrequest that fills the cache; the others wait on a
-- semaphore. Then all of them go on and find it in the cache. What the cache does not keep (errors, answers that are not
-- to be stored) the leader hands to those who waited for it.
local semaphore = require 'ngx.semaphore'
local lrucache = require 'resty.lrucache'

local collapse = {}

local FETCH_SECONDS_MAX = {{hold_s}} + 2
local OTHER_WORKER_POLL_SECONDS = 0.005
-- Objects that are known to be in the cache: their requests need no leader.
local KEPT_OBJECTS_MAX = 20000

local kept = assert(lrucache.new(KEPT_OBJECTS_MAX))
-- Per object that is being fetched: who waits, and since when.
local groups = {}

-- Seconds that an answer may be kept. Names of headers are as the origin spells them.
local function lifetime(headers)
  local control = ''
  for name, value in pairs(headers) do
    if name:lower() == 'cache-control' then
      control = type(value) == 'table' and table.concat(value, ', ') or value
    end
  end
  if control:find('no%-') or control:find('private') then return 0 end
  return tonumber(control:match('max%-age=(%d+)')) or 0
end

local function answer(result)
  ngx.status = result.status
  for name, value in pairs(result.header) do
    local lower = name:lower()
    if lower ~= 'connection' and lower ~= 'transfer-encoding' and lower ~= 'content-length' then
      ngx.header[name] = value
    end
  end
  ngx.header['Content-Length'] = #result.body
  if ngx.req.get_method() ~= 'HEAD' then ngx.print(result.body) end
  return ngx.exit(ngx.OK)
end

-- Waits while another worker fetches the object.
local function lead_among_workers(key)
  local deadline = ngx.now() + FETCH_SECONDS_MAX
  while not ngx.shared.fetching:safe_add(key, true, FETCH_SECONDS_MAX) do
    if ngx.now() > deadline then return end
    ngx.sleep(OTHER_WORKER_POLL_SECONDS)
  end
end

local function fetch(key)
  lead_among_workers(key)
  local path = ngx.var.object_path
  local ok, result = pcall(ngx.location.capture, '/fetch' .. path, { args = ngx.var.args })
  ngx.shared.fetching:delete(key)
  if not ok then return nil end
  local seconds = lifetime(result.header)
  if result.status == 200 and not result.truncated and seconds > 0 then
    -- The cache reckons in whole seconds and may let go of it one earlier.
    if seconds > 1 then kept:set(key, true, seconds - 1) end
    return nil
  end
  return result
end

-- Access tokens, where this CDN checks them: the origin says of each token and stream whether it may be played, and what it
-- said holds for a while.
local CHECKS_TOKENS = {{checks_tokens}}
local ALLOWED_SECONDS, REFUSED_SECONDS = 10, 1
local VERDICTS_MAX = 100000
local verdicts = assert(lrucache.new(VERDICTS_MAX))

-- Runs `work` once for everybody who wants the same at the same time; all get what it returned.
local function once(key, work)
  local group = groups[key]
  if group ~= nil and ngx.now() - group.since < FETCH_SECONDS_MAX then
    group.waiting = group.waiting + 1
    group.woken:wait(FETCH_SECONDS_MAX)
    return group.result
  end
  group = { woken = semaphore.new(0), waiting = 0, since = ngx.now() }
  groups[key] = group
  group.result = work(key)
  if groups[key] == group then groups[key] = nil end
  if group.waiting > 0 then group.woken:post(group.waiting) end
  return group.result
end

local function ask_origin(path)
  local ok, result = pcall(ngx.location.capture, '/check' .. path .. '/access')
  if not ok then return 502 end
  local status = result.status
  if status == 204 then
    verdicts:set(path, status, ALLOWED_SECONDS)
  elseif status == 401 or status == 403 or status == 404 then
    verdicts:set(path, status, REFUSED_SECONDS)
  end
  return status
end

local function check_token()
  local path = ngx.var.token_path
  local status = verdicts:get(path) or once(path, ask_origin) or 502
  if status ~= 204 then return ngx.exit(status) end
end

-- Called before the cache is asked; returns when it has the object, or answers.
function collapse.enter()
  if ngx.req.get_method() == 'OPTIONS' then return end
  if CHECKS_TOKENS then check_token() end
  local key = ngx.var.object_path .. ngx.var.object_query
  if kept:get(key) then return end
  local result = once(key, fetch)
  if result ~= nil then return answer(result) end
end

-- nginx adds no Age of its own: the seconds since the origin made the answer, and how old that was already.
function collapse.set_age()
  local made = ngx.parse_http_time(ngx.var.upstream_http_date or '')
  if made == nil then return end
  local before = tonumber(ngx.var.upstream_http_age) or 0
  ngx.header['Age'] = math.max(0, ngx.time() - made) + before
end

return collapse
