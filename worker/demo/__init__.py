"""`moodstream demo`: the whole product at work on one machine, with nothing but Python.

posts    sample posts, written for this project (posts.jsonl)
records  from posts to what goes over the wire, some of it broken or taken back
pace     when the next record is due
sender   records into the input topics              | one thread, `traffic`
reader   labels and dead letters out of theirs      |
tally    what was sent, what came back, how fast, and the counts that the trends must have
servers  broker, Redis, worker and trends role, and that none of them ends in silence
trends   what the trends API says
screen   how it looks
display  shows it: live on a terminal, a line now and then elsewhere
svg      the picture in the documentation: `moodstream demo --for 60 --picture docs/demo.svg`
verdict  the figures, and all that was not as it should be
run      the order of it all
"""
