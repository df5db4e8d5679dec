import fengari from 'fengari'

const { lua, lauxlib, lualib, to_luastring: toLua, to_jsstring: toJs } = fengari

type Reply = string | number | null | Reply[]
type State = unknown

/** What is stored under a key: a text, and when it expires. */
interface Entry {
  readonly text: string
  readonly expiresAt: number
}

/**
 * Runs the Lua of a script that touches strings only on a Redis whose clock a test sets, and whose last writes it may lose:
 * for properties over more interleavings than a server can be brought to. Lua 5.3, which reads what we write like Redis' 5.1.
 */
export class LuaRedis {
  /** Milliseconds since 1970. */
  now = 1_000_000_000_000
  #entries = new Map<string, Entry>()
  readonly #state: State = lauxlib.luaL_newstate()
  readonly #loaded = new Map<string, number>()

  constructor () {
    const L = this.#state
    lualib.luaL_openlibs(L)
    lua.lua_newtable(L)
    lua.lua_pushcfunction(L, (): number => {
      const count = lua.lua_gettop(L)
      push(L, this.#call(Array.from({ length: count }, (_, index) => toJs(lauxlib.luaL_tolstring(L, index + 1)))))
      return 1
    })
    lua.lua_setfield(L, -2, toLua('call'))
    lua.lua_setglobal(L, toLua('redis'))
  }

  /** What a replica has that was up to date at this moment. */
  snapshot (): ReadonlyMap<string, Entry> {
    return new Map(this.#entries)
  }

  /** A failover: the replica goes on. */
  restore (entries: ReadonlyMap<string, Entry>): void {
    this.#entries = new Map(entries)
  }

  run (script: { lua: string }, keys: readonly string[], args: ReadonlyArray<string | number>): Reply {
    const L = this.#state
    for (const [name, list] of [['KEYS', keys], ['ARGV', args]] as const) {
      push(L, list.map(String))
      lua.lua_setglobal(L, toLua(name))
    }
    let loaded = this.#loaded.get(script.lua)
    if (loaded === undefined) {
      if (lauxlib.luaL_loadstring(L, toLua(script.lua)) !== 0) throw new Error(toJs(lua.lua_tostring(L, -1)))
      loaded = lauxlib.luaL_ref(L, lua.LUA_REGISTRYINDEX)
      this.#loaded.set(script.lua, loaded)
    }
    lua.lua_rawgeti(L, lua.LUA_REGISTRYINDEX, loaded)
    if (lua.lua_pcall(L, 0, 1, 0) !== 0) throw new Error(toJs(lua.lua_tostring(L, -1)))
    const reply = pop(L)
    lua.lua_settop(L, 0)
    return reply
  }

  #call ([command = '', key = '', value = '', option, ms]: string[]): Reply {
    const entry = this.#entries.get(key)
    const live = entry !== undefined && entry.expiresAt > this.now ? entry : undefined
    switch (command) {
      // With a point, because this Lua has integers of 32 bits.
      case 'TIME': return [`${Math.floor(this.now / 1000)}.0`, `${this.now % 1000 * 1000}.0`]
      case 'GET': return live?.text ?? null
      case 'DEL': return Number(this.#entries.delete(key))
      case 'SET':
        this.#entries.set(key, { text: value, expiresAt: option === 'PX' ? this.now + Number(ms) : Infinity })
        return 'OK'
      case 'PEXPIRE':
        if (live !== undefined) this.#entries.set(key, { text: live.text, expiresAt: this.now + Number(value) })
        return Number(live !== undefined)
      default: throw new Error(`${command} is not among what this knows`)
    }
  }
}

function push (L: State, reply: Reply): void {
  if (reply === null) lua.lua_pushboolean(L, 0)
  else if (typeof reply === 'number') lua.lua_pushinteger(L, reply)
  else if (typeof reply === 'string') lua.lua_pushstring(L, toLua(reply))
  else {
    lua.lua_newtable(L)
    for (const [index, one] of reply.entries()) {
      push(L, one)
      lua.lua_rawseti(L, -2, index + 1)
    }
  }
}

/** As Redis turns what a script returns into a reply. */
function pop (L: State): Reply {
  if (lua.lua_isnumber(L, -1) && lua.lua_type(L, -1) === lua.LUA_TNUMBER) return Math.trunc(lua.lua_tonumber(L, -1))
  if (lua.lua_type(L, -1) === lua.LUA_TSTRING) return toJs(lua.lua_tostring(L, -1))
  if (!lua.lua_istable(L, -1)) return null
  return Array.from({ length: lua.lua_rawlen(L, -1) }, (_, index) => {
    lua.lua_rawgeti(L, -1, index + 1)
    const one = pop(L)
    lua.lua_pop(L, 1)
    return one
  })
}
