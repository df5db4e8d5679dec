/** The part of fengari that test/helpers/lua-redis.ts uses; the package has no types. */
declare module 'fengari' {
  type LuaString = Uint8Array
  const fengari: {
    lua: {
      LUA_REGISTRYINDEX: number
      LUA_TNUMBER: number
      LUA_TSTRING: number
      lua_gettop (L: unknown): number
      lua_isnumber (L: unknown, index: number): boolean
      lua_istable (L: unknown, index: number): boolean
      lua_newtable (L: unknown): void
      lua_pcall (L: unknown, args: number, results: number, handler: number): number
      lua_pop (L: unknown, count: number): void
      lua_pushboolean (L: unknown, value: 0 | 1): void
      lua_pushcfunction (L: unknown, fn: () => number): void
      lua_pushinteger (L: unknown, value: number): void
      lua_pushstring (L: unknown, value: LuaString): void
      lua_rawgeti (L: unknown, index: number, n: number): void
      lua_rawlen (L: unknown, index: number): number
      lua_rawseti (L: unknown, index: number, n: number): void
      lua_setfield (L: unknown, index: number, name: LuaString): void
      lua_setglobal (L: unknown, name: LuaString): void
      lua_settop (L: unknown, index: number): void
      lua_tonumber (L: unknown, index: number): number
      lua_tostring (L: unknown, index: number): LuaString
      lua_type (L: unknown, index: number): number
    }
    lauxlib: {
      luaL_loadstring (L: unknown, text: LuaString): number
      luaL_newstate (): unknown
      luaL_ref (L: unknown, table: number): number
      luaL_tolstring (L: unknown, index: number): LuaString
    }
    lualib: { luaL_openlibs (L: unknown): void }
    to_luastring (text: string): LuaString
    to_jsstring (text: LuaString): string
  }
  export default fengari
}
