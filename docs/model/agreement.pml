/*
 * Agreement on one height, with view change (ledger.md rules 2 to 7) and attempts (ABANDON): can
 * two different hashes be decided? README.md beside this file says what is covered, what is not.
 *
 * The network is the set of all messages ever sent: a validator that does not act on one has lost
 * it or waits for it, so loss, delay, repetition and reordering are all in here. Only what honest
 * members sent is state. Liars have sent everything they can sign at any time: every vote on every
 * hash, every certificate that their votes complete, and the PRE_PREPARE of every view (as if they
 * led all of them, which includes every schedule of leaders). The master lies too: it offers both
 * hashes in every attempt, to each member with the ABANDONs that suit it.
 *
 * The attempts are played one after the other. Nothing in an attempt depends on a later one, and
 * what a later one needs (ABANDONs, certificates) only grows: so every order of steps can be sorted
 * into this one without disabling a step. Each attempt has a committee of its own.
 *
 * Rules broken on purpose, each of which must give a counterexample: QUORUM=2, LIARS=2 (HONEST=2),
 * NO_RULE_6, NO_RULE_7, ANY_PREPARED (not the highest), TWO_VOTES, NO_CARRY, VOTE_AFTER_ABANDON,
 * ABANDON_BEFORE_CANDIDATE, NO_INHERITANCE.
 */
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef VIEWS
#define VIEWS 2
#endif
#ifndef LIARS
#define LIARS 1
#endif
#ifndef HONEST
#define HONEST 3
#endif
#ifndef QUORUM
#define QUORUM 3
#endif

/* Hashes are 1 and 2. A certificate is a number that grows with (attempt, view); 0 is none. */
#define RANK(attempt, view) ((attempt) * VIEWS + (view))
#define CERTIFICATE(rank, hash) (1 + 2 * (rank) + (hash) - 1)
#define RANK_OF(certificate) (((certificate) - 1) / 2)
#define CERTIFICATES (2 * ATTEMPTS * VIEWS)

byte attempt;
/* What honest member i of this attempt sent in view v, at SLOT(i, v). A bit a hash. */
#define SLOT(i, v) ((i) * VIEWS + (v))
byte prepares[HONEST * VIEWS];
byte commits[HONEST * VIEWS];
/* ROUND_CHANGE and ABANDON: 0 not sent, else 1 + the certificate in it. */
byte changes[HONEST * VIEWS];
byte abandons[HONEST];
/* The lowest view a member still votes in. */
byte lowest[HONEST];
/* CANDIDATEs it accepted, a bit a hash; and the highest certificate that they were bound by. */
byte candidates[HONEST];
byte inherited[HONEST];

/* Of the attempt before: ABANDONs; of all before: certificates that can be shown, a bit each. */
byte abandoned[HONEST];
int shown;
/* Hashes decided by anyone, a bit a hash. */
byte decided;

/* Work of one step: all 0 between steps, so that they add no states. */
byte i, v, h, c, other, count, found, message;
int left, right;

/*
 * found = do q members say so? `saying` is what member `other` says, 0 for nothing; the liars say
 * anything at any time.
 */
inline count_members(saying) {
  count = LIARS;
  for (other : 0 .. HONEST - 1) { count = count + ((saying) != 0) }
  found = (count >= QUORUM)
}

/* found = can the prepared certificate be shown? A liar shows it if nobody else does. */
inline find_certificate(certificate) {
  if
  :: RANK_OF(certificate) >= attempt * VIEWS ->
    count_members(prepares[SLOT(other, RANK_OF(certificate) % VIEWS)] & (1 + (certificate - 1) % 2))
  :: else -> found = ((shown >> certificate) & 1)
  fi
}

/*
 * found = can q ROUND_CHANGEs (ABANDONs) be chosen of which this certificate is the highest (0:
 * none has one)? `sent` is what member `other` sent: 0, or 1 + the certificate in it.
 */
inline choose_highest(sent, certificate) {
  count = LIARS;
  for (other : 0 .. HONEST - 1) {
    message = sent;
    if
    :: message == 0
#ifndef ANY_PREPARED
    :: message > 1 && message - 1 != certificate &&
       (certificate == 0 || RANK_OF(message - 1) >= RANK_OF(certificate))
#endif
    :: else -> count++
    fi
  }
  if
  :: count < QUORUM -> found = 0
  :: count >= QUORUM && certificate == 0 -> found = 1
  :: else -> find_certificate(certificate)
  fi
}

/* Rule 7: may h be voted for in view v? In view 0 always, else as q ROUND_CHANGEs bind it. */
inline check_justification() {
  found = (v == 0);
  c = 0;
  do
  :: found || c > CERTIFICATE(RANK(attempt, v - 1), h) -> break
  :: else ->
#ifdef NO_RULE_7
    count_members(changes[SLOT(other, v)]);
    c = CERTIFICATES + 1
#else
    choose_highest(changes[SLOT(other, v)], c);
    c = (c == 0 -> CERTIFICATE(RANK(attempt, 0), h) : c + 2)
#endif
  od
}

/* Has member i one of these hashes to vote on? In attempt 0 always. */
#define HAS_CANDIDATE(hashes) (attempt == 0 || (candidates[i] & (hashes)) != 0)

/* May member i vote in view v at all? Rule 6, and what ABANDON forbids. */
#ifdef NO_RULE_6
#define OPEN_VIEW 1
#else
#define OPEN_VIEW (v >= lowest[i])
#endif
#ifdef VOTE_AFTER_ABANDON
#define OPEN OPEN_VIEW
#else
#define OPEN (OPEN_VIEW && abandons[i] == 0)
#endif
#ifdef TWO_VOTES
#define UNVOTED(votes) ((votes & h) == 0)
#else
#define UNVOTED(votes) (votes == 0)
#endif
#ifdef ABANDON_BEFORE_CANDIDATE
#define MAY_ABANDON 1
#else
#define MAY_ABANDON HAS_CANDIDATE(3)
#endif

/* What is only for the next attempt does not matter in the last one. */
#define MATTERS (attempt < ATTEMPTS - 1)

/* CANDIDATE of a later attempt with q ABANDONs of which certificate c is the highest. */
inline accept_candidate() {
#ifdef NO_CARRY
  count_members(abandoned[other]);
#else
  choose_highest(abandoned[other], c);
#endif
  if
  :: found && (c == 0 || h == 1 + (c - 1) % 2) ->
    candidates[i] = candidates[i] | h;
    inherited[i] = (c > inherited[i] && MATTERS -> c : inherited[i])
  :: else
  fi
}

/* Rule 2: PREPARE (or the leader's own PRE_PREPARE), at most one a view. */
inline prepare() {
  found = 0;
  if
  :: OPEN && UNVOTED(prepares[SLOT(i, v)]) && HAS_CANDIDATE(h) -> check_justification()
  :: else
  fi;
  if
  :: found ->
    prepares[SLOT(i, v)] = prepares[SLOT(i, v)] | h;
    lowest[i] = (v > lowest[i] -> v : lowest[i])
  :: else
  fi
}

/* Rules 3 and 4: a prepared hash is committed; q COMMITs of one view decide. */
inline commit() {
  found = 0;
  if
  :: OPEN && UNVOTED(commits[SLOT(i, v)]) -> count_members(prepares[SLOT(other, v)] & h)
  :: else
  fi;
  if
  :: found ->
    commits[SLOT(i, v)] = commits[SLOT(i, v)] | h;
    count_members(commits[SLOT(other, v)] & h);
    decided = (found -> decided | h : decided)
  :: else
  fi
}

/* c = the certificate of the highest view below `end` that member i committed to, or as it was. */
inline find_own(end) {
  other = 0;
  do
  :: other >= end -> break
  :: else ->
    count = commits[SLOT(i, other)];
    c = (count == 0 -> c : CERTIFICATE(RANK(attempt, other), (count > 1 -> 2 : 1)));
    other++
  od
}

/* Rules 5 and 7: ROUND_CHANGE to any later view, frozen once sent. */
inline change_round() {
  if
  :: v < VIEWS && v > lowest[i] && abandons[i] == 0 && HAS_CANDIDATE(3) ->
    find_own(v);
    changes[SLOT(i, v)] = 1 + c;
    lowest[i] = v
  :: else
  fi
}

/*
 * ABANDON carries the highest certificate, own or inherited. A member of earlier committees may own
 * one that is higher than what its CANDIDATE was bound by: so any that can be shown, and is not
 * lower, will do for c.
 */
inline abandon() {
  found = (c == 0);
  if
  :: c > 0 -> find_certificate(c)
  :: else
  fi;
#ifndef NO_INHERITANCE
  found = found && (c == inherited[i] || (c > 0 && RANK_OF(c) > RANK_OF(inherited[i])));
#endif
  if
  :: found && abandons[i] == 0 && MAY_ABANDON ->
    find_own(VIEWS);
    abandons[i] = 1 + c
  :: else
  fi
}

/* Ends the attempt: keeps what the next one can see of it. */
inline open_attempt() {
  for (c : 1 .. CERTIFICATES) {
    if
    :: RANK_OF(c) / VIEWS == attempt ->
      find_certificate(c);
      shown = shown | (found << c)
    :: else
    fi
  }
  for (i : 0 .. HONEST - 1) {
    abandoned[i] = abandons[i];
    abandons[i] = 0;
    lowest[i] = 0;
    candidates[i] = 0;
    inherited[i] = 0;
    for (v : 0 .. VIEWS - 1) {
      prepares[SLOT(i, v)] = 0;
      commits[SLOT(i, v)] = 0;
      changes[SLOT(i, v)] = 0
    }
  }
  attempt++
}

/*
 * Members are alike, so states that differ only by who is who are one: they are put in the order of
 * a key, which need not tell all of them apart.
 */
#define SWAP(x, y) c = x; x = y; y = c
#define KEY(i) (abandons[i] + 32 * inherited[i] + 1024 * candidates[i])
#define KEY_OF_VIEW(i) (prepares[SLOT(i, v)] + 4 * commits[SLOT(i, v)] + 16 * changes[SLOT(i, v)])

inline order_pair(first, second) {
  left = KEY(first);
  right = KEY(second);
  for (v : 0 .. VIEWS - 1) {
    left = left * 31 + KEY_OF_VIEW(first);
    right = right * 31 + KEY_OF_VIEW(second)
  }
  if
  :: left > right ->
    for (v : 0 .. VIEWS - 1) {
      SWAP(prepares[SLOT(first, v)], prepares[SLOT(second, v)]);
      SWAP(commits[SLOT(first, v)], commits[SLOT(second, v)]);
      SWAP(changes[SLOT(first, v)], changes[SLOT(second, v)])
    }
    SWAP(abandons[first], abandons[second]);
    SWAP(lowest[first], lowest[second]);
    SWAP(candidates[first], candidates[second]);
    SWAP(inherited[first], inherited[second])
  :: else
  fi
}

inline order_members() {
  order_pair(0, 1);
#if HONEST > 2
  order_pair(1, 2);
  order_pair(0, 1);
#endif
}

inline order_abandoned() {
  if :: abandoned[0] > abandoned[1] -> SWAP(abandoned[0], abandoned[1]) :: else fi;
#if HONEST > 2
  if :: abandoned[1] > abandoned[2] -> SWAP(abandoned[1], abandoned[2]) :: else fi;
  if :: abandoned[0] > abandoned[1] -> SWAP(abandoned[0], abandoned[1]) :: else fi
#endif
}

inline forget() {
  order_members();
  i = 0; v = 0; h = 0; c = 0; other = 0; count = 0; found = 0; message = 0; left = 0; right = 0
}

active proctype Everybody() {
  do
  :: atomic {
      select (i : 0 .. HONEST - 1);
      if
      :: h = 1
      :: h = 2
      fi;
      if
      :: attempt > 0 ->
        select (c : 0 .. 2 * attempt * VIEWS); skip; d_step { accept_candidate(); forget() }
      :: select (v : 0 .. VIEWS - 1); skip; d_step { prepare(); forget() }
      :: select (v : 0 .. VIEWS - 1); skip; d_step { commit(); forget() }
      :: select (v : 1 .. VIEWS); skip; d_step { change_round(); forget() }
      :: MATTERS ->
        select (c : 0 .. 2 * attempt * VIEWS); skip; d_step { abandon(); forget() }
      fi;
      assert(decided != 3)
    }
  :: MATTERS -> d_step { open_attempt(); order_abandoned(); forget() }
  od
}
