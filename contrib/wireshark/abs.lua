-- Wireshark dissector of what crosses the wire between abs agents: docs/wire.md, docs/wireshark.md.
-- With a key log of `abs capture --keylog` it checks each packet's proof and decrypts payloads; what
-- is in them goes on to the dissector of its IP protocol. Written for Wireshark 4.0 (Lua 5.2), whose
-- Lua has no ciphers: AES-GCM and ChaCha20-Poly1305 are below, as plain as their documents.
-- Bytes are Lua strings; a word is a number below 2^32. Nothing here trusts a length it was sent.

local bits = bit32 or bit
local band, bor, bxor, bnot = bits.band, bits.bor, bits.bxor, bits.bnot
local lshift, rshift = bits.lshift, bits.rshift
local rotateLeft = bits.lrotate or bits.rol
local rotateRight = bits.rrotate or bits.ror
local byte, char, sub, rep = string.byte, string.char, string.sub, string.rep

local TWO_TO_32 = 4294967296

local function wordAt(text, at)
  local a, b, c, d = byte(text, at, at + 3)
  return a * 16777216 + b * 65536 + c * 256 + d
end

local function wordText(word)
  return char(band(rshift(word, 24), 255), band(rshift(word, 16), 255), band(rshift(word, 8), 255), band(word, 255))
end

local function bigEndian(value, size)
  local text = ""
  for _ = 1, size do
    text = char(value % 256) .. text
    value = (value - value % 256) / 256
  end
  return text
end

local function fromHex(text)
  if #text % 2 ~= 0 or text:find("[^%x]") then return nil end
  return (text:gsub("%x%x", function(pair) return char(tonumber(pair, 16)) end))
end

-- XOR of two texts as long as the shorter one.
local function xorText(left, right)
  local out = {}
  for at = 1, math.min(#left, #right) do out[at] = char(bxor(byte(left, at), byte(right, at))) end
  return table.concat(out)
end

local function padded(text, blockBytes)
  return text .. rep("\0", (blockBytes - #text % blockBytes) % blockBytes)
end

------------------------------------------------------------------------------------------------
-- AES (FIPS 197), encryption only: one table of 256 words does SubBytes and MixColumns.

local SBOX, TABLE = {}, {}
do
  local function double(x)
    return x < 128 and 2 * x or bxor(2 * x, 283)
  end
  local p, q = 1, 1
  repeat
    p = bxor(p, double(p)) -- times 3
    q = bxor(q, 2 * q) % 256 -- divided by 3
    q = bxor(q, 4 * q) % 256
    q = bxor(q, 16 * q) % 256
    if q >= 128 then q = bxor(q, 9) end
    local x = bxor(q, 2 * q, 4 * q, 8 * q, 16 * q)
    SBOX[p] = bxor(x % 256, rshift(x, 8), 99) % 256
  until p == 1
  SBOX[0] = 99
  for x = 0, 255 do
    local s = SBOX[x]
    local two = double(s)
    TABLE[x] = two * 16777216 + s * 65536 + s * 256 + bxor(two, s)
  end
end

local function substituteWord(word)
  return SBOX[band(rshift(word, 24), 255)] * 16777216
    + SBOX[band(rshift(word, 16), 255)] * 65536
    + SBOX[band(rshift(word, 8), 255)] * 256
    + SBOX[band(word, 255)]
end

-- Round keys of a key of 16 or 32 bytes.
local function aesExpand(key)
  local words, keyWords = {}, #key / 4
  for i = 0, keyWords - 1 do words[i] = wordAt(key, 4 * i + 1) end
  local round = 1
  for i = keyWords, 4 * (keyWords + 7) - 1 do
    local word = words[i - 1]
    if i % keyWords == 0 then
      word = bxor(substituteWord(rotateLeft(word, 8)), round * 16777216)
      round = round < 128 and 2 * round or bxor(2 * round, 283)
    elseif keyWords > 6 and i % keyWords == 4 then
      word = substituteWord(word)
    end
    words[i] = bxor(words[i - keyWords], word)
  end
  return { words = words, rounds = keyWords + 6 }
end

local function aesEncrypt(schedule, a, b, c, d)
  local words, rounds = schedule.words, schedule.rounds
  a, b, c, d = bxor(a, words[0]), bxor(b, words[1]), bxor(c, words[2]), bxor(d, words[3])
  local function mix(w, x, y, z, key)
    return bxor(
      TABLE[band(rshift(w, 24), 255)],
      rotateRight(TABLE[band(rshift(x, 16), 255)], 8),
      rotateRight(TABLE[band(rshift(y, 8), 255)], 16),
      rotateRight(TABLE[band(z, 255)], 24),
      key
    )
  end
  for round = 1, rounds - 1 do
    local at = 4 * round
    a, b, c, d = mix(a, b, c, d, words[at]), mix(b, c, d, a, words[at + 1]),
      mix(c, d, a, b, words[at + 2]), mix(d, a, b, c, words[at + 3])
  end
  local function last(w, x, y, z, key)
    local word = SBOX[band(rshift(w, 24), 255)] * 16777216
      + SBOX[band(rshift(x, 16), 255)] * 65536
      + SBOX[band(rshift(y, 8), 255)] * 256
      + SBOX[band(z, 255)]
    return bxor(word, key)
  end
  local at = 4 * rounds
  return last(a, b, c, d, words[at]), last(b, c, d, a, words[at + 1]),
    last(c, d, a, b, words[at + 2]), last(d, a, b, c, words[at + 3])
end

-- GCM (NIST SP 800-38D). GHASH by four bits a step: table[n] is n times H, four words each.
local REDUCE = {
  [0] = 0x0000, 0x1c20, 0x3840, 0x2460, 0x7080, 0x6ca0, 0x48c0, 0x54e0,
  0xe100, 0xfd20, 0xd940, 0xc560, 0x9180, 0x8da0, 0xa9c0, 0xb5e0,
}

local function ghashTable(h0, h1, h2, h3)
  local multiples = { [0] = { 0, 0, 0, 0 }, [8] = { h0, h1, h2, h3 } }
  local at = 4
  while at >= 1 do
    local low = band(h3, 1)
    h3 = bor(rshift(h3, 1), lshift(h2, 31))
    h2 = bor(rshift(h2, 1), lshift(h1, 31))
    h1 = bor(rshift(h1, 1), lshift(h0, 31))
    h0 = bxor(rshift(h0, 1), low * 0xe1000000)
    multiples[at] = { h0, h1, h2, h3 }
    at = at / 2
  end
  for _, high in ipairs({ 2, 4, 8 }) do
    for low = 1, high - 1 do
      local x, y = multiples[high], multiples[low]
      multiples[high + low] = { bxor(x[1], y[1]), bxor(x[2], y[2]), bxor(x[3], y[3]), bxor(x[4], y[4]) }
    end
  end
  return multiples
end

-- The hash of whole blocks, as four words.
local function ghash(multiples, text)
  local z0, z1, z2, z3 = 0, 0, 0, 0
  local words = {}
  for at = 1, #text, 16 do
    words[1] = bxor(z0, wordAt(text, at))
    words[2] = bxor(z1, wordAt(text, at + 4))
    words[3] = bxor(z2, wordAt(text, at + 8))
    words[4] = bxor(z3, wordAt(text, at + 12))
    z0, z1, z2, z3 = 0, 0, 0, 0
    for i = 4, 1, -1 do
      local word = words[i]
      for _ = 1, 8 do
        local reduced = REDUCE[band(z3, 15)]
        local m = multiples[band(word, 15)]
        z3 = bxor(bor(rshift(z3, 4), lshift(z2, 28)), m[4])
        z2 = bxor(bor(rshift(z2, 4), lshift(z1, 28)), m[3])
        z1 = bxor(bor(rshift(z1, 4), lshift(z0, 28)), m[2])
        z0 = bxor(rshift(z0, 4), lshift(reduced, 16), m[1])
        word = rshift(word, 4)
      end
    end
  end
  return z0, z1, z2, z3
end

local function gcmKey(key)
  local schedule = aesExpand(key)
  return { schedule = schedule, multiples = ghashTable(aesEncrypt(schedule, 0, 0, 0, 0)) }
end

-- The tag of a ciphertext and its associated data, and a function that decrypts it.
local function gcm(prepared, nonce, associated, cipherText)
  local schedule = prepared.schedule
  local n0, n1, n2 = wordAt(nonce, 1), wordAt(nonce, 5), wordAt(nonce, 9)
  local lengths = bigEndian(8 * #associated, 8) .. bigEndian(8 * #cipherText, 8)
  local hashed = padded(associated, 16) .. padded(cipherText, 16) .. lengths
  local s0, s1, s2, s3 = ghash(prepared.multiples, hashed)
  local e0, e1, e2, e3 = aesEncrypt(schedule, n0, n1, n2, 1)
  local tag = wordText(bxor(s0, e0)) .. wordText(bxor(s1, e1)) .. wordText(bxor(s2, e2)) .. wordText(bxor(s3, e3))
  local function decrypt()
    local stream = {}
    for i = 1, math.ceil(#cipherText / 16) do
      local a, b, c, d = aesEncrypt(schedule, n0, n1, n2, i + 1)
      stream[i] = wordText(a) .. wordText(b) .. wordText(c) .. wordText(d)
    end
    return xorText(cipherText, table.concat(stream))
  end
  return tag, decrypt
end

------------------------------------------------------------------------------------------------
-- ChaCha20-Poly1305 (RFC 8439).

local function littleWord(text, at)
  local a, b, c, d = byte(text, at, at + 3)
  return a + b * 256 + c * 65536 + d * 16777216
end

local function littleText(word)
  return char(band(word, 255), band(rshift(word, 8), 255), band(rshift(word, 16), 255), band(rshift(word, 24), 255))
end

local function chachaBlock(key, nonce, counter)
  local first = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 }
  for i = 0, 7 do first[5 + i] = littleWord(key, 4 * i + 1) end
  first[13] = counter
  for i = 0, 2 do first[14 + i] = littleWord(nonce, 4 * i + 1) end
  local s = {}
  for i = 1, 16 do s[i] = first[i] end
  local function quarter(a, b, c, d)
    s[a] = (s[a] + s[b]) % TWO_TO_32
    s[d] = rotateLeft(bxor(s[d], s[a]), 16) % TWO_TO_32
    s[c] = (s[c] + s[d]) % TWO_TO_32
    s[b] = rotateLeft(bxor(s[b], s[c]), 12) % TWO_TO_32
    s[a] = (s[a] + s[b]) % TWO_TO_32
    s[d] = rotateLeft(bxor(s[d], s[a]), 8) % TWO_TO_32
    s[c] = (s[c] + s[d]) % TWO_TO_32
    s[b] = rotateLeft(bxor(s[b], s[c]), 7) % TWO_TO_32
  end
  for _ = 1, 10 do
    quarter(1, 5, 9, 13)
    quarter(2, 6, 10, 14)
    quarter(3, 7, 11, 15)
    quarter(4, 8, 12, 16)
    quarter(1, 6, 11, 16)
    quarter(2, 7, 12, 13)
    quarter(3, 8, 9, 14)
    quarter(4, 5, 10, 15)
  end
  local out = {}
  for i = 1, 16 do out[i] = littleText((s[i] + first[i]) % TWO_TO_32) end
  return table.concat(out)
end

local LIMB = 4194304 -- 2^22: six limbs hold 132 bits, and sums of their products stay exact

-- Sixteen bytes and what follows them (1 in a block of a message, 0 in a key) as six limbs.
local function limbsOf(text, at, top)
  local b = { byte(text, at, at + 15) }
  return {
    b[1] + b[2] * 256 + band(b[3], 63) * 65536,
    rshift(b[3], 6) + b[4] * 4 + b[5] * 1024 + band(b[6], 15) * 262144,
    rshift(b[6], 4) + b[7] * 16 + b[8] * 4096 + band(b[9], 3) * 1048576,
    rshift(b[9], 2) + b[10] * 64 + b[11] * 16384,
    b[12] + b[13] * 256 + band(b[14], 63) * 65536,
    rshift(b[14], 6) + b[15] * 4 + b[16] * 1024 + top * 262144,
  }
end

local CLAMP = { 255, 255, 255, 15, 252, 255, 255, 15, 252, 255, 255, 15, 252, 255, 255, 15 }

-- Carries; what is above 2^(22*5 + topBits) comes back at the bottom, times `factor`.
local function carry(h, topSize, factor)
  for i = 1, 5 do
    local over = (h[i] - h[i] % LIMB) / LIMB
    h[i] = h[i] - over * LIMB
    h[i + 1] = h[i + 1] + over
  end
  local over = (h[6] - h[6] % topSize) / topSize
  h[6] = h[6] - over * topSize
  h[1] = h[1] + over * factor
end

-- The tag of whole blocks of 16 bytes, which is all that the AEAD makes of it.
local function poly1305(key, text)
  local clamped = {}
  for i = 1, 16 do clamped[i] = char(band(byte(key, i), CLAMP[i])) end
  local r = limbsOf(table.concat(clamped), 1, 0)
  local h = { 0, 0, 0, 0, 0, 0 }
  for at = 1, #text, 16 do
    local m = limbsOf(text, at, 1)
    for i = 1, 6 do m[i] = m[i] + h[i] end
    for k = 1, 6 do
      local low, high = 0, 0 -- 2^132 is 4 * 5 modulo 2^130 - 5
      for i = 1, 6 do
        if i <= k then low = low + m[i] * r[k - i + 1] else high = high + m[i] * r[k - i + 7] end
      end
      h[k] = low + 20 * high
    end
    carry(h, LIMB, 20)
    carry(h, LIMB, 20)
  end
  local TOP = 1048576 -- 2^130 is here in the sixth limb
  carry(h, TOP, 5)
  carry(h, TOP, 5)
  local g = { h[1] + 5, h[2], h[3], h[4], h[5], h[6] }
  for i = 1, 5 do
    local over = (g[i] - g[i] % LIMB) / LIMB
    g[i] = g[i] - over * LIMB
    g[i + 1] = g[i + 1] + over
  end
  if g[6] >= TOP then -- h is 2^130 - 5 or more
    g[6] = g[6] - TOP
    h = g
  end
  local out, value, held, limb, over = {}, 0, 0, 1, 0
  for i = 1, 16 do
    while held < 8 and limb <= 6 do
      value = value + h[limb] * 2 ^ held
      held = held + 22
      limb = limb + 1
    end
    local sum = value % 256 + byte(key, 16 + i) + over
    out[i] = char(sum % 256)
    over = (sum - sum % 256) / 256
    value = (value - value % 256) / 256
    held = held - 8
  end
  return table.concat(out)
end

local function littleEndian(value, size)
  return bigEndian(value, size):reverse()
end

local function chachaPoly(key, nonce, associated, cipherText)
  local oneTime = sub(chachaBlock(key, nonce, 0), 1, 32)
  local lengths = littleEndian(#associated, 8) .. littleEndian(#cipherText, 8)
  local tag = poly1305(oneTime, padded(associated, 16) .. padded(cipherText, 16) .. lengths)
  local function decrypt()
    local stream = {}
    for i = 1, math.ceil(#cipherText / 64) do stream[i] = chachaBlock(key, nonce, i) end
    return xorText(cipherText, table.concat(stream))
  end
  return tag, decrypt
end

------------------------------------------------------------------------------------------------
-- SHA-256 (FIPS 180-4), for the hash of a packet's addresses.

local ROUND = {}
local START = {}
do
  -- The first 32 bits of the fractional parts of roots of primes, as the standard defines them.
  local function fraction(x) return math.floor((x % 1) * TWO_TO_32) end
  local count, candidate = 0, 2
  while count < 64 do
    local isPrime = true
    for divisor = 2, math.floor(math.sqrt(candidate)) do
      if candidate % divisor == 0 then isPrime = false break end
    end
    if isPrime then
      count = count + 1
      ROUND[count] = fraction(candidate ^ (1 / 3))
      if count <= 8 then START[count] = fraction(math.sqrt(candidate)) end
    end
    candidate = candidate + 1
  end
end

local function sha256(message)
  local text = padded(message .. "\128" .. rep("\0", (55 - #message) % 64) .. bigEndian(8 * #message, 8), 64)
  local state = {}
  for i = 1, 8 do state[i] = START[i] end
  for at = 1, #text, 64 do
    local w = {}
    for i = 1, 16 do w[i] = wordAt(text, at + 4 * i - 4) end
    for i = 17, 64 do
      local x, y = w[i - 15], w[i - 2]
      local s0 = bxor(rotateRight(x, 7), rotateRight(x, 18), rshift(x, 3)) % TWO_TO_32
      local s1 = bxor(rotateRight(y, 17), rotateRight(y, 19), rshift(y, 10)) % TWO_TO_32
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) % TWO_TO_32
    end
    local a, b, c, d, e, f, g, h = state[1], state[2], state[3], state[4], state[5], state[6], state[7], state[8]
    for i = 1, 64 do
      local s1 = bxor(rotateRight(e, 6), rotateRight(e, 11), rotateRight(e, 25)) % TWO_TO_32
      local choice = bxor(band(e, f), band(bnot(e), g)) % TWO_TO_32
      local t1 = (h + s1 + choice + ROUND[i] + w[i]) % TWO_TO_32
      local s0 = bxor(rotateRight(a, 2), rotateRight(a, 13), rotateRight(a, 22)) % TWO_TO_32
      local majority = bxor(band(a, b), band(a, c), band(b, c)) % TWO_TO_32
      h, g, f, e, d, c, b, a = g, f, e, (d + t1) % TWO_TO_32, c, b, a, (t1 + s0 + majority) % TWO_TO_32
    end
    for i, value in ipairs({ a, b, c, d, e, f, g, h }) do state[i] = (state[i] + value) % TWO_TO_32 end
  end
  local out = {}
  for i = 1, 8 do out[i] = wordText(state[i]) end
  return table.concat(out)
end

------------------------------------------------------------------------------------------------
-- The key log: sessions by the receiver index that their packets carry.

local ALGORITHMS = {
  ["aes-128-gcm"] = { keyBytes = 16, prepare = gcmKey, seal = gcm },
  ["aes-256-gcm"] = { keyBytes = 32, prepare = gcmKey, seal = gcm },
  ["chacha20-poly1305"] = { keyBytes = 32, prepare = function(key) return key end, seal = chachaPoly },
}
local PROTECTIONS = { integrity = true, confidential = true, unauthenticated = true }
local LINE_BYTES_MAX = 2048
local SESSIONS_MAX = 100000
-- An index is chosen at random by each agent: a few sessions may share one by chance.
local CANDIDATES_MAX = 8

local sessions = {}

local function percentDecoded(text)
  return (text:gsub("%%(%x%x)", function(pair) return char(tonumber(pair, 16)) end))
end

-- One direction of a session, or nil when the field is not one.
local function directionOf(field, about)
  local indexText, algorithm, protection, keyText, proofText =
    field:match("^(%x+),([%w%-]+),(%a+),(%x+),?(%x*)$")
  local known = algorithm and ALGORITHMS[algorithm]
  if not known or not PROTECTIONS[protection] or #indexText ~= 8 then return nil end
  local key, proof = fromHex(keyText), fromHex(proofText)
  if not key or #key ~= known.keyBytes or not proof then return nil end
  if protection == "unauthenticated" and #proof ~= 16 then return nil end
  return {
    index = tonumber(indexText, 16), algorithm = algorithm, protection = protection, key = key, proof = proof,
    field = field, seal = known.seal, prepare = known.prepare, peer = about.peer, app = about.app, under = about.under,
  }
end

local function addDirection(direction)
  local candidates = sessions[direction.index] or {}
  for _, other in ipairs(candidates) do
    if other.field == direction.field then return false end -- the other agent's log has it, too
  end
  table.insert(candidates, 1, direction)
  candidates[CANDIDATES_MAX + 1] = nil
  sessions[direction.index] = candidates
  return true
end

local function readKeyLog(path)
  sessions = {}
  if path == "" then return end
  local file, why = io.open(path, "r")
  if not file then return report_failure("abs: the key log cannot be read: " .. why) end
  local count = 0
  for line in file:lines() do
    if #line <= LINE_BYTES_MAX and line:find("^ABS_SESSION_1 ") then
      local fields = {}
      for name, value in line:gmatch("(%l+)=(%S+)") do fields[name] = value end
      local about = {
        peer = percentDecoded(fields.peer or ""), app = percentDecoded(fields.app or ""), under = fields.under or "",
      }
      for _, name in ipairs({ "in", "out" }) do
        local direction = fields[name] and directionOf(fields[name], about)
        if direction and count < SESSIONS_MAX and addDirection(direction) then count = count + 1 end
      end
    end
  end
  file:close()
end

------------------------------------------------------------------------------------------------
-- Fields.

local abs = Proto("abs", "Application-Based Security")

abs.prefs.keylog = Pref.string("Key log", "", "File of `abs capture --keylog`: proofs are checked, payloads decrypted")
abs.prefs.ip_protocol = Pref.uint("IP protocol", 253, "IP protocol of the `ip` carrier")
abs.prefs.udp_port = Pref.uint("UDP port", 6253, "Destination port of the `udp` carrier")

local FLAGS = { [1] = "ENROLMENT", [2] = "DISCOVERY", [3] = "UPDATE", [4] = "HANDSHAKE", [5] = "DATA", [6] = "REJECT" }
local MESSAGES = {
  [1] = "Initiation", [2] = "Response", [3] = "Cookie reply", [4] = "Initiation (rsa256)", [5] = "Response (rsa256)",
}
local REASONS = {
  [2] = "Denied by policy", [3] = "Application refused", [4] = "Flow bound elsewhere", [5] = "Quarantined",
}
local HINT_REASONS = { [1] = "Unknown index" }
local PROTOCOLS = { [1] = "ICMP", [6] = "TCP", [17] = "UDP", [58] = "ICMPv6", [59] = "No payload" }

local f = {
  version = ProtoField.uint8("abs.version", "Version", base.DEC, nil, 0xf0),
  flag = ProtoField.uint8("abs.flag", "Flag", base.DEC, FLAGS, 0x0f),
  next_header = ProtoField.uint8("abs.next_header", "Next header", base.DEC),
  protocol = ProtoField.uint8("abs.protocol", "Original protocol", base.DEC, PROTOCOLS),
  message = ProtoField.uint8("abs.message", "Message", base.DEC, MESSAGES),
  fragment = ProtoField.uint16("abs.fragment", "Original fragment field", base.HEX),
  fragment_df = ProtoField.bool("abs.fragment.df", "Don't fragment", 16, nil, 0x4000),
  fragment_mf = ProtoField.bool("abs.fragment.mf", "More fragments", 16, nil, 0x2000),
  fragment_offset = ProtoField.uint16("abs.fragment.offset", "Fragment offset (8 bytes)", base.DEC, nil, 0x1fff),
  receiver_index = ProtoField.uint32("abs.receiver_index", "Receiver index", base.HEX),
  lane = ProtoField.uint8("abs.lane", "Lane", base.DEC),
  counter = ProtoField.uint64("abs.counter", "Counter", base.DEC),
  proof = ProtoField.bytes("abs.proof", "Proof"),
  payload = ProtoField.bytes("abs.payload", "Payload"),
  keep_alive = ProtoField.bool("abs.keep_alive", "Keep-alive or confirmation"),
  sender_index = ProtoField.uint32("abs.sender_index", "Sender index", base.HEX),
  sc_id = ProtoField.guid("abs.sc_id", "Contract (SC-ID)"),
  generation = ProtoField.uint32("abs.generation", "Generation", base.DEC),
  ephemeral = ProtoField.bytes("abs.ephemeral", "Ephemeral key"),
  static = ProtoField.bytes("abs.static", "Static key, sealed"),
  sealed = ProtoField.bytes("abs.sealed", "Payload, sealed"),
  wrapped = ProtoField.bytes("abs.wrapped", "RSA-OAEP"),
  mac1 = ProtoField.bytes("abs.mac1", "mac1"),
  mac2 = ProtoField.bytes("abs.mac2", "mac2"),
  has_cookie = ProtoField.bool("abs.has_cookie", "Under a cookie"),
  nonce = ProtoField.bytes("abs.nonce", "Nonce"),
  cookie = ProtoField.bytes("abs.cookie", "Cookie, sealed"),
  reason = ProtoField.uint16("abs.reject.reason", "Reason", base.DEC, REASONS),
  refused_protocol = ProtoField.uint8("abs.reject.protocol", "Protocol of the refused flow", base.DEC, PROTOCOLS),
  refused_version = ProtoField.uint8("abs.reject.ip_version", "IP version of the refused flow", base.DEC),
  refused_source_port = ProtoField.uint16("abs.reject.source_port", "Source port", base.DEC),
  refused_destination_port = ProtoField.uint16("abs.reject.destination_port", "Destination port", base.DEC),
  refused_source = ProtoField.ipv4("abs.reject.source", "Source"),
  refused_destination = ProtoField.ipv4("abs.reject.destination", "Destination"),
  refused_source6 = ProtoField.ipv6("abs.reject.source6", "Source"),
  refused_destination6 = ProtoField.ipv6("abs.reject.destination6", "Destination"),
  hint_reason = ProtoField.uint16("abs.hint.reason", "Reason", base.DEC, HINT_REASONS),
  hint_reserved = ProtoField.uint16("abs.hint.reserved", "Reserved", base.HEX),
  hint_index = ProtoField.uint32("abs.hint.index", "Unknown index", base.HEX),
  hint_proof = ProtoField.bytes("abs.hint.proof", "Proof echoed"),
  -- What the key log adds.
  proof_ok = ProtoField.bool("abs.proof.ok", "Proof holds"),
  decrypted = ProtoField.bool("abs.decrypted", "Decrypted"),
  clear = ProtoField.bool("abs.clear", "Payload in the clear"),
  algorithm = ProtoField.string("abs.session.algorithm", "Algorithm"),
  protection = ProtoField.string("abs.session.protection", "Protection"),
  peer = ProtoField.string("abs.session.peer", "Peer of the agent that logged"),
  app = ProtoField.string("abs.session.app", "Application"),
  under = ProtoField.string("abs.session.under", "Contracts/generations"),
}
do
  local fields = {}
  for _, field in pairs(f) do fields[#fields + 1] = field end
  abs.fields = fields
end

local function fault(name, text)
  return ProtoExpert.new("abs." .. name, text, expert.group.MALFORMED, expert.severity.ERROR)
end

local e = {
  length = fault("bad.length", "Wrong length"),
  cut = ProtoExpert.new("abs.cut", "Not captured whole", expert.group.UNDECODED, expert.severity.NOTE),
  version = fault("bad.version", "Unknown version"),
  flag = fault("bad.flag", "Unknown flag"),
  bare = ProtoExpert.new(
    "abs.bad.bare", "A message of the manager or peer channel, bare: it is dropped",
    expert.group.PROTOCOL, expert.severity.WARN
  ),
  next_header = fault("bad.next_header", "Unknown message"),
  fragment = fault("bad.fragment", "Fragment field is not 0"),
  index = fault("bad.index", "Index does not fit the message"),
  lane = fault("bad.lane", "Lane above 15"),
  counter = fault("bad.counter", "Counter from 2^53 on: never sent"),
  reason = fault("bad.reason", "Unknown reason"),
  ip_version = fault("bad.ip_version", "IP version does not fit the length"),
  reserved = fault("bad.reserved", "Reserved bits are set"),
  inner = fault("bad.inner", "The inner packet is malformed"),
  outer = ProtoExpert.new(
    "abs.bad.outer", "An ABS packet that was fragmented: it is dropped", expert.group.PROTOCOL, expert.severity.WARN
  ),
  proof = ProtoExpert.new("abs.bad.proof", "The proof is wrong", expert.group.SECURITY, expert.severity.ERROR),
}
do
  local experts = {}
  for _, one in pairs(e) do experts[#experts + 1] = one end
  abs.experts = experts
end

------------------------------------------------------------------------------------------------
-- What a proof binds of the IP header around the packet.

local outer = {
  source = Field.new("ip.src"), destination = Field.new("ip.dst"), length = Field.new("ip.len"),
  identification = Field.new("ip.id"), source6 = Field.new("ipv6.src"), destination6 = Field.new("ipv6.dst"),
  length6 = Field.new("ipv6.plen"), more = Field.new("ip.flags.mf"), offset = Field.new("ip.frag_offset"),
  headerLength = Field.new("ip.hdr_len"),
}

-- The innermost occurrence: that of the IP header right before us.
local function last(field)
  local found = { field() }
  return found[#found]
end

local addressHashes = setmetatable({}, { __mode = "v" })

local function addressHash(version, source, destination)
  local name = source .. destination
  local known = addressHashes[name]
  if not known then
    known = { sub(sha256("abs addr" .. char(version) .. source .. destination), 1, 12) }
    addressHashes[name] = known
  end
  return known[1]
end

-- The IP length right before us: of IPv4 or IPv6, and which.
local function ipLength()
  local length4, length6 = last(outer.length), last(outer.length6)
  if length4 and length6 then
    if length4.offset > length6.offset then length6 = nil else length4 = nil end
  end
  return length4 or length6, length4 ~= nil
end

-- Whether we have all that the IP header announces, and nothing else: not of what an ICMP error
-- quotes, nor of fragments that were put together.
local function isWhole(tvb, growth)
  if tvb:len() < tvb:reported_len() then return false end
  local length, isV4 = ipLength()
  local header = isV4 and last(outer.headerLength)
  if not length or (isV4 and not header) then return false end
  return length.value - (isV4 and header.value or 0) == tvb:len() + growth - 32
end

-- The 16 bytes in the proof's place, and source and destination; nil without an IP header.
local function contextOf(growth)
  local length, isV4 = ipLength()
  local source = last(isV4 and outer.source or outer.source6)
  local destination = last(isV4 and outer.destination or outer.destination6)
  if not (length and source and destination) then return nil end
  local sourceBytes, destinationBytes = source.range:raw(), destination.range:raw()
  local identification = 0
  if isV4 then
    local found = last(outer.identification)
    identification = found and found.value or 0
  end
  local original = length.value - growth
  if original < 0 then return nil end
  local version = isV4 and 4 or 6
  local hash = addressHash(version, sourceBytes, destinationBytes)
  return {
    pseudo = hash .. bigEndian(original, 2) .. bigEndian(identification, 2),
    source = sourceBytes, destination = destinationBytes,
  }
end

-- The session whose proof this is, and the payload when it was hidden.
local function openPacket(candidates, message, isData, context)
  local proof = sub(message, 17, 32)
  local header = sub(message, 1, 16) .. context.pseudo
  local payload = sub(message, 33)
  local nonce = "\0\0\0\0" .. sub(message, 9, 16)
  for _, session in ipairs(candidates) do
    if isData and session.protection == "unauthenticated" then
      if session.proof == proof then return session end
    else
      session.prepared = session.prepared or session.prepare(session.key)
      local isHidden = isData and session.protection == "confidential"
      local associated = isHidden and header or header .. payload
      local tag, decrypt = session.seal(session.prepared, nonce, associated, isHidden and payload or "")
      if tag == proof then return session, isHidden and decrypt() or nil end
    end
  end
  return nil
end

-- Checks the proof as far as there are keys. Returns the session, and the payload when it was hidden.
local function prove(tvb, tree, isData, growth)
  local candidates = sessions[tvb(4, 4):uint()]
  local context = candidates and contextOf(growth)
  if not context then return nil end
  local session, payload = openPacket(candidates, tvb:raw(), isData, context)
  tree:add(f.proof_ok, tvb(16, 16), session ~= nil):set_generated()
  if not session then
    tree:add_proto_expert_info(e.proof)
    return nil
  end
  for _, name in ipairs({ "algorithm", "protection", "peer", "app", "under" }) do
    tree:add(f[name], session[name]):set_generated()
  end
  return session, payload
end

------------------------------------------------------------------------------------------------
-- The payload.

local ipProtocols = DissectorTable.get("ip.proto")
-- Their dissectors want to know of the IPv6 header that is not there any more.
local EXTENSIONS = { [0] = true, [43] = true, [44] = true, [60] = true, [135] = true, [139] = true, [140] = true }

local function sumOf(text)
  local even = padded(text, 2)
  local sum = 0
  for at = 1, #even, 2 do sum = sum + byte(even, at) * 256 + byte(even, at + 1) end
  return sum
end

local MINIMUM = { [1] = 8, [6] = 20, [17] = 8, [58] = 8 }

-- Whether a payload whose protection is not known is in the clear: its own checksum is right.
local function looksClear(protocol, payload, growth)
  local minimum = MINIMUM[protocol]
  if not minimum or #payload < minimum then return false end
  local sum = sumOf(payload)
  if protocol ~= 1 then
    local context = contextOf(growth)
    if not context then return false end
    sum = sum + sumOf(context.source) + sumOf(context.destination) + protocol + #payload
  end
  return sum > 0 and sum % 65535 == 0
end

local function callInner(protocol, tvb, pinfo, root, tree)
  local dissector = not EXTENSIONS[protocol] and ipProtocols:get_dissector(protocol)
  if not dissector then return end
  local isFine = pcall(dissector.call, dissector, tvb, pinfo, root)
  if not isFine then tree:add_proto_expert_info(e.inner) end
end

local function dissectPayload(tvb, pinfo, root, tree, growth)
  local protocol = tvb(1, 1):uint()
  local session, plain = prove(tvb, tree, true, growth)
  if tvb:len() == 32 then
    tree:add(f.keep_alive, protocol == 59):set_generated()
    pinfo.cols.info = protocol == 59 and "Keep-alive or confirmation" or "DATA without payload"
    return
  end
  local inner = tvb(32):tvb()
  tree:add(f.payload, tvb(32))
  if plain then
    tree:add(f.decrypted, true):set_generated()
    inner = ByteArray.new(plain, true):tvb("Decrypted ABS payload")
  else
    local isClear = session ~= nil or looksClear(protocol, tvb:raw(32), growth)
    tree:add(f.clear, isClear):set_generated()
    if not isClear then return end
  end
  -- A fragment is no packet of its protocol.
  if band(tvb(2, 2):uint(), 0x3fff) == 0 then callInner(protocol, inner, pinfo, root, tree) end
end

------------------------------------------------------------------------------------------------
-- Messages.

local function addLaneAndProof(tvb, tree)
  local lane = tree:add(f.lane, tvb(8, 1))
  local counter = tree:add(f.counter, tvb(9, 7))
  if tvb(8, 1):uint() > 15 then lane:add_proto_expert_info(e.lane) end
  if tvb(9, 1):uint() >= 0x20 then counter:add_proto_expert_info(e.counter) end
  tree:add(f.proof, tvb(16, 16))
end

local function dissectData(tvb, pinfo, root, tree, growth)
  local fragment = tree:add(f.fragment, tvb(2, 2))
  fragment:add(f.fragment_df, tvb(2, 2))
  fragment:add(f.fragment_mf, tvb(2, 2))
  fragment:add(f.fragment_offset, tvb(2, 2))
  if tvb(2, 1):uint() >= 0x80 then fragment:add_proto_expert_info(e.reserved) end
  if tvb:len() < 32 then return tree:add_proto_expert_info(e.length) end
  addLaneAndProof(tvb, tree)
  local protocol = tvb(1, 1):uint()
  pinfo.cols.info = string.format("DATA %s, %d bytes", PROTOCOLS[protocol] or protocol, tvb:len() - 32)
  dissectPayload(tvb, pinfo, root, tree, growth)
end

-- Sizes before mac1, by message; 4 and 5 have 256 bytes of RSA-OAEP more.
local HANDSHAKE = {
  [1] = { bytes = 237, sealed = 112 }, [2] = { bytes = 189, sealed = 64 },
  [4] = { bytes = 493, sealed = 112, wrapped = 205 }, [5] = { bytes = 445, sealed = 64, wrapped = 157 },
}

local function dissectKeys(tvb, tree, form)
  local isInitiation = form.sealed == 112
  local sender = tree:add(f.sender_index, tvb(8, 4))
  local isZero = tvb(4, 4):uint() == 0
  if tvb(8, 4):uint() == 0 or isZero ~= isInitiation then sender:add_proto_expert_info(e.index) end
  tree:add(f.sc_id, tvb(12, 16))
  tree:add(f.generation, tvb(28, 4))
  tree:add(f.ephemeral, tvb(32, 32))
  if isInitiation then tree:add(f.static, tvb(64, 48)) end
  tree:add(f.sealed, tvb(form.sealed, 93))
  if form.wrapped then tree:add(f.wrapped, tvb(form.wrapped, 256)) end
  tree:add(f.mac1, tvb(form.bytes - 32, 16))
  tree:add(f.mac2, tvb(form.bytes - 16, 16))
  local hasCookie = tvb:raw(form.bytes - 16, 16) ~= rep("\0", 16)
  tree:add(f.has_cookie, tvb(form.bytes - 16, 16), hasCookie):set_generated()
end

local function dissectHandshake(tvb, pinfo, tree)
  local message = tvb(1, 1):uint()
  pinfo.cols.info = "HANDSHAKE " .. (MESSAGES[message] or message)
  if message == 3 then
    if tvb:len() ~= 64 then return tree:add_proto_expert_info(e.length) end
    tree:add(f.nonce, tvb(8, 24))
    tree:add(f.cookie, tvb(32, 32))
    if tvb(4, 4):uint() == 0 then tree:add_proto_expert_info(e.index) end
    return
  end
  local form = HANDSHAKE[message]
  if not form then return tree:add_proto_expert_info(e.next_header) end
  if tvb:len() ~= form.bytes then return tree:add_proto_expert_info(e.length) end
  dissectKeys(tvb, tree, form)
end

local function dissectHint(tvb, tree)
  if tvb:len() ~= 32 then return tree:add_proto_expert_info(e.length) end
  local reason = tree:add(f.hint_reason, tvb(8, 2))
  if not HINT_REASONS[tvb(8, 2):uint()] then reason:add_proto_expert_info(e.reason) end
  local reserved = tree:add(f.hint_reserved, tvb(10, 2))
  if tvb(10, 2):uint() ~= 0 then reserved:add_proto_expert_info(e.reserved) end
  local index = tree:add(f.hint_index, tvb(12, 4))
  if tvb(12, 4):uint() == 0 then index:add_proto_expert_info(e.index) end
  tree:add(f.hint_proof, tvb(16, 16))
end

local function dissectReject(tvb, pinfo, tree, growth)
  if tvb(1, 1):uint() ~= 0 then tree:add_proto_expert_info(e.next_header) end
  if tvb(4, 4):uint() == 0 then
    pinfo.cols.info = "REJECT unknown index (a hint, not authenticated)"
    return dissectHint(tvb, tree)
  end
  pinfo.cols.info = "REJECT"
  if tvb:len() ~= 48 and tvb:len() ~= 72 then return tree:add_proto_expert_info(e.length) end
  addLaneAndProof(tvb, tree)
  if tvb(8, 1):uint() ~= 15 then tree:add_proto_expert_info(e.lane) end
  prove(tvb, tree, false, growth)
  local reason = tree:add(f.reason, tvb(32, 2))
  local word = REASONS[tvb(32, 2):uint()]
  if not word then reason:add_proto_expert_info(e.reason) end
  pinfo.cols.info = "REJECT " .. (word or tvb(32, 2):uint())
  tree:add(f.refused_protocol, tvb(34, 1))
  local version = tree:add(f.refused_version, tvb(35, 1))
  local isV4 = tvb:len() == 48
  if tvb(35, 1):uint() ~= (isV4 and 4 or 6) then version:add_proto_expert_info(e.ip_version) end
  tree:add(f.refused_source_port, tvb(36, 2))
  tree:add(f.refused_destination_port, tvb(38, 2))
  tree:add(isV4 and f.refused_source or f.refused_source6, tvb(40, isV4 and 4 or 16))
  tree:add(isV4 and f.refused_destination or f.refused_destination6, tvb(isV4 and 44 or 56, isV4 and 4 or 16))
end

-- growth: bytes between the IP header's end and the original payload.
local function dissectMessage(tvb, pinfo, root, growth)
  pinfo.cols.protocol = "ABS"
  pinfo.cols.info = "ABS"
  local tree = root:add(abs, tvb())
  local more, offset = last(outer.more), last(outer.offset)
  local isFragment = (more and more.value) or (offset and offset.value > 0)
  if isFragment then tree:add_proto_expert_info(e.outer) end
  local isCut = not isWhole(tvb, growth)
  if tvb:len() < 8 then return tree:add_proto_expert_info(isCut and e.cut or e.length) end
  local version = tree:add(f.version, tvb(0, 1))
  local flagItem = tree:add(f.flag, tvb(0, 1))
  local first = tvb(0, 1):uint()
  if rshift(first, 4) ~= 1 then return version:add_proto_expert_info(e.version) end
  local flag = band(first, 15)
  local name = flag == 4 and "message" or flag == 5 and "protocol" or "next_header"
  tree:add(f[name], tvb(1, 1))
  local index = tree:add(f.receiver_index, tvb(4, 4))
  tree:append_text(", " .. (FLAGS[flag] or "unknown"))
  if isCut then return not isFragment and tree:add_proto_expert_info(e.cut) end
  if not FLAGS[flag] then return flagItem:add_proto_expert_info(e.flag) end
  if flag < 4 then
    pinfo.cols.info = FLAGS[flag]
    return flagItem:add_proto_expert_info(e.bare)
  end
  if flag == 5 then
    if tvb(4, 4):uint() == 0 then index:add_proto_expert_info(e.index) end
    return dissectData(tvb, pinfo, root, tree, growth)
  end
  if tvb(2, 2):uint() ~= 0 then tree:add(f.fragment, tvb(2, 2)):add_proto_expert_info(e.fragment) end
  if flag == 4 then return dissectHandshake(tvb, pinfo, tree) end
  dissectReject(tvb, pinfo, tree, growth)
end

------------------------------------------------------------------------------------------------
-- Carriers.

local CARRIER_IP, CARRIER_UDP = 32, 40

function abs.dissector(tvb, pinfo, root)
  dissectMessage(tvb, pinfo, root, CARRIER_IP)
  return tvb:len()
end

local absUdp = Proto("abs_udp", "Application-Based Security over UDP")

-- Traffic of others on this port begins otherwise: then it is theirs.
function absUdp.dissector(tvb, pinfo, root)
  if tvb:len() < 1 or rshift(tvb(0, 1):uint(), 4) ~= 1 then return 0 end
  dissectMessage(tvb, pinfo, root, CARRIER_UDP)
  return tvb:len()
end

local udpPorts = DissectorTable.get("udp.port")
local registered = {}

local function register()
  local protocol, port = abs.prefs.ip_protocol, abs.prefs.udp_port
  if registered.protocol ~= protocol then
    if registered.protocol then ipProtocols:remove(registered.protocol, abs) end
    ipProtocols:add(protocol, abs)
  end
  if registered.port ~= port then
    if registered.port then udpPorts:remove(registered.port, absUdp) end
    udpPorts:add(port, absUdp)
  end
  registered = { protocol = protocol, port = port }
end
register()

abs.prefs_changed = register

-- A capture is opened: the key log may have grown since.
function abs.init()
  register()
  readKeyLog(abs.prefs.keylog)
end
