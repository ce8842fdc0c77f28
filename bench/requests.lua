-- wrk sends the requests of a file in turn; they are separated by NUL. @NEW@ becomes 16 digits that no request had
-- before, @KNOWN@ one of the known numbers, one after another from a random one on. Sixteen digits are the base64 of a
-- device id. (bench/traffic.py)
local templates, count = {}, 0

function init(args)
  seed = tonumber(args[2]) * 1e9
  known = tonumber(args[3])
  first = tonumber(args[2]) * 7919 % known
  local file = assert(io.open(args[1], "rb"))
  for template in (file:read("*a") .. "\0"):gmatch("(.-)%z") do
    local before, kind, after = template:match("^(.-)@(%u+)@(.*)$")
    count = count + 1
    templates[count] = {before or template, kind, after}
  end
  file:close()
end

local sent = 0
function request()
  local template = templates[sent % count + 1]
  sent = sent + 1
  if not template[2] then return template[1] end
  local number = template[2] == "NEW" and seed + sent or (first + sent) % known
  return template[1] .. string.format("%016.0f", number) .. template[3]
end
