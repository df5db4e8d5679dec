/** Sockets in a room of people.js: 20 users who follow each other, so that their room is on every worker. */
export const ROOM = 20

/** @param {number} user */
export const roomOf = (user) => `room${Math.floor(user / ROOM)}`
