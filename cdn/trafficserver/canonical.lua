-- Gives every object one name, keeps out what is not played, and sets the headers that players read.
local DIRECTIVES = { '_HLS_msn', '_HLS_part', '_HLS_skip' }

local function canonical_query(query)
  local given = {}
  for name, value in query:gmatch('([^&=?]+)=([^&?]*)') do
    if given[name] == nil then given[name] = value end
  end
  local kept = {}
  for _, name in ipairs(DIRECTIVES) do
    local value = given[name]
    if value ~= nil and value ~= '' then kept[#kept + 1] = name .. '=' .. value end
  end
  return table.concat(kept, '&')
end

function do_remap()
  -- An access token before the path stays: it is not checked here, so the origin has to see it.
  local uri = ts.client_request.get_uri()
  if not uri:match('^/live/') and not uri:match('^/t/[^/]+/live/') then
    ts.http.set_resp(404)
    return TS_LUA_REMAP_NO_REMAP
  end
  ts.hook(TS_LUA_HOOK_READ_RESPONSE_HDR, read_response)
  ts.hook(TS_LUA_HOOK_SEND_RESPONSE_HDR, send_response)
  ts.client_request.set_uri_args(canonical_query(ts.client_request.get_uri_args() or ''))
  -- One representation for everybody.
  ts.client_request.header['Accept-Encoding'] = nil
  ts.client_request.header['Cookie'] = nil
  ts.client_request.header['Authorization'] = nil
  return TS_LUA_REMAP_DID_REMAP
end

local function is_kept(status, control)
  if control:find('no%-') or control:find('private') then return false end
  return status == 200 or (status == 404 and control:find('max%-age=[1-9]') ~= nil)
end

-- What is not to be kept is shared by those who wait for it: without any lifetime each of them would fetch it. A second is
-- the shortest that there is.
function read_response()
  local header = ts.server_response.header
  if is_kept(ts.server_response.get_status(), header['Cache-Control'] or '') then return end
  header['Cache-Control'] = 'max-age=1'
  header['X-Not-Kept'] = '1'
end

function send_response()
  local header = ts.client_response.header
  header['Access-Control-Allow-Origin'] = '*'
  header['Access-Control-Expose-Headers'] = 'Age, Content-Length, Content-Range, Date, ETag, Retry-After'
  if header['X-Not-Kept'] ~= nil then
    header['X-Not-Kept'] = nil
    header['Cache-Control'] = 'no-store'
  end
end
