"""The words people use to speak about themselves. Tables only: the grammar that reads them is in `declared`."""

from __future__ import annotations

from persona_plugins.contrastive.statements.words import Phrases

__all__: list[str] = []


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


# -- whose words these are ------------------------------------------------------------------------------------------

ABBREVIATIONS = _words("e.g i.e etc vs mr mrs ms dr st approx no")
#: Tasks whose material is somebody's text; whatever follows such a request is that text.
TEXT_TASKS = _words(
    "translate summarise summarize rewrite rephrase paraphrase proofread reword correct edit",
    "polish shorten",
    "condense analyse analyze classify transcribe critique tldr",
)
DATA_WORDS = TEXT_TASKS | _words(
    "following below text email message letter article passage paragraph quote lyrics transcript",
    "document review",
    "post story poem essay says said wrote saying reads goes write output input example prompt",
    "code error log abstract",
)
#: Labels before a colon that introduce the person's own words.
OWN_LABELS = Phrases.of(
    [
        "note | please note | also | btw | by the way | fyi | ps | p.s | one thing",
        "one more thing | reminder | about me",
        "my preferences | preferences | some context | context | background | a bit about me",
        "for context | important",
        "quick note | just so you know | update | correction | feedback",
    ],
    True,
)
#: What turns from one order to another; also before a colon ("wait, no: be detailed").
TURNING = _words("no wait actually sorry rather ,")
#: From here on the turn is a part being played, a supposition, or an instruction to whoever reads it.
PLAYED = Phrases.of(
    [
        "pretend | role play | roleplay | act as | act like | you are a | you are an",
        "you are now | you will be a",
        "imagine | suppose | supposing | hypothetically | let's say | lets say | say i am",
        "what if | assume | assuming",
        "in the voice of | point of view | perspective of | from the perspective",
        "in first person | first person",
        "as a character | my character | the character | the protagonist | in character | persona",
        "speak as | write as",
        "ignore the above | ignore all | ignore previous | ignore the previous",
        "ignore everything | disregard the above",
        "disregard all | disregard previous | disregard any | the user | this user | system prompt",
        "dear sir | dear madam | dear hiring | kind regards | best regards | sincerely",
        "just kidding | jk | kidding",
        "being sarcastic | subject , | wrote ,",
    ],
    True,
)

# -- where a clause may start, and what spoils it -------------------------------------------------------------------

LEAD_INS = Phrases.of(
    [
        "please | actually | well | so | no | yes | yeah | yep | nope | nah | ok | okay",
        "honestly | btw | by the way",
        "hi | hey | hello | thanks | thank you | sorry | oh | ah | and | but | or | then | also",
        "plus | now | anyway",
        "because | since | as i said | like i said | as i told you | i told you | i told you that",
        "i already told you",
        "remember | remember that | please remember that | note that | please note that",
        "keep in mind that | fyi | ,",
        "keep in mind | bear in mind that | bear in mind | just so you know | so you know",
        "you should know that",
        "for the record | to be clear | to be honest | in fact | in general | generally",
        "generally speaking | haha | lol",
        "personally | as a rule | normally | usually | great | cool | nice | wow | same here",
        "me too | right | look",
        "for context | a bit of context | unfortunately | sadly | although | though | however",
        "these days | nowadays",
        "as for me | myself | one thing | don't forget that | do not forget that | do not forget",
        "thing is | hmm | um | uh",
        "in my opinion | in my experience | for example | for instance | on the other hand",
        "at first | in that sense",
        "after all | of course | obviously | as you know | you know | first | second | finally",
        "in my case | as always",
        "turns out | it turns out | turns out that | it turns out that | as it turns out | as it happens",
        "wait | hold on | hang on | scratch that | strike that | on second thought | on second thoughts",
        "otherwise | elsewhere | everywhere else | in all other cases",
    ],
    True,
)
BOUNDARIES = _words(", and but so because since though although then plus yet")
QUESTION_STARTS = _words(
    "what which who whom whose how why when where do does did is are was were can could should",
    "would will shall may",
    "any got have has am",
)
TAG_ENDS = _words("right yes no correct yeah huh eh true ok okay")
REPORTING = _words(
    "said says saying say tell told tells claim claimed claims thinks thought believes wrote",
    "writes writing asked",
    "replied mentioned argued argues insists insisted goes sang sings called titled named quote",
    "quotes according heard",
    "character narrator speaker protagonist",
)
HEDGES = _words(
    "might may maybe perhaps possibly probably guess suppose wonder wish hope hoping seem seems",
    "supposedly sorta kinda",
    "unsure wondering hypothetical apparently doubt",
)
HEDGED = Phrases.of(
    ["sort of like | kind of like | kind of love | sort of love | not sure | i think | kind of hate"], True
)
#: What holds for the moment only.
TEMPORARY = Phrases.of(
    [
        "right now | today | tonight | tomorrow | yesterday | at the moment | for now | this time",
        "this week | this month",
        "this morning | this afternoon | this evening | last night | last week | last year | ago",
        "just now | at present",
        "currently | this weekend | recently | lately | next week | soon | this once",
        "in a minute | this semester | as a kid",
    ],
    True,
)
#: Systems of measurement that stand against each other, with the key they share.
RIVALS = {
    "metric": "imperial or metric", "imperial": "imperial or metric",
    "celsius": "celsius or fahrenheit", "fahrenheit": "celsius or fahrenheit",
}  # fmt: skip
MEASURES = _words("unit units system measurement measurements")
#: What says that something held until now.
OVER = Phrases.of(["any more | any longer | no longer"], True)
DEICTIC = _words(
    "it this that these those them him her you your yours he she they how what when where why the",
    "here there so if",
    "such as not to myself both same one ones another something everything nothing someone both having",
)
#: "the" after which something general is meant, not a thing in view.
GENERAL_THE = _words(
    "outdoors ocean beach beaches sea gym rain cold heat city countryside mountains theatre",
    "theater cinema arts sun snow",
    "taste smell scent feel look texture sound colour color guitar piano violin drums flute cello",
    "saxophone trumpet",
    "ukulele banjo idea thought window aisle",
)

# -- verbs ----------------------------------------------------------------------------------------------------------

#: Verbs that say whether somebody goes for something, with the sign of that.
STANCES = {
    "like": 1, "love": 1, "enjoy": 1, "adore": 1, "prefer": 1, "favour": 1, "favor": 1, "hate": -1, "dislike": -1,
    "detest": -1, "despise": -1, "loathe": -1, "avoid": -1, "refuse": -1, "fear": -1, "distrust": -1, "abhor": -1,
}  # fmt: skip
PERFECT_STANCES = {
    "loved": 1, "liked": 1, "enjoyed": 1, "preferred": 1, "hated": -1, "disliked": -1, "avoided": -1, "adored": 1,
}  # fmt: skip
#: Wishes for an answer; about style only, because otherwise they are errands ("I want a table").
WISHES = _words("want need prefer like rather appreciate")
#: What people do as a habit, with the kind of trait it makes; a plain present of these speaks of always.
HABITS = {
    **dict.fromkeys(
        "eat drink wear collect follow watch listen smoke cook read vape".split(),
        "preference",
    ),
    **dict.fromkeys("live work study speak own teach drive play practise practice vote pray worship".split(), "fact"),
}
#: Further verbs, taken for a habit only beside "always", "never", "only", … or when denied.
MORE_HABITS = _words(
    "use buy purchase consume fly stay travel visit attend participate engage ride take choose",
    "shop support tolerate",
    "trust cook bake order rent book ski swim run hike dance gamble celebrate date sleep camp go",
    "do put get watch seek",
)
FREQUENCY = _words("always never only exclusively strictly usually generally rarely mostly mainly typically primarily")
ADVERBS = FREQUENCY | _words(
    "really just also absolutely strongly particularly especially truly personally genuinely",
    "actually still totally",
    "definitely simply greatly completely deeply passionately much vastly generally highly",
    "intensely both too very quite",
    "often regularly specifically honestly firmly intentionally actively deliberately consciously",
    "religiously",
    "categorically now certainly sometimes even firmly heavily",
)
NOT_ADVERBS = _words("fly apply rely reply supply comply multiply family bully")
#: Verbs after "I can't …" that make it a lasting dislike or a fact about the body.
UNABLE = {
    "stand": "preference", "bear": "preference", "tolerate": "preference", "abide": "preference",
    "stomach": "preference",
    "eat": "fact", "drink": "fact", "digest": "fact", "drive": "fact", "swim": "fact", "cook": "fact",
}  # fmt: skip
AVOIDING = Phrases.of(
    ["avoid | skip | stay away from | steer clear of | keep away from | limit | minimise | minimize | abstain from"], -1
)
#: Objects of "I hate to …", "I like to …" that are manners of speaking.
MANNERS = _words("say think admit believe know hear see be ask tell imagine point break disappoint bother interrupt")

# -- "I am …", "I have …" -------------------------------------------------------------------------------------------

#: After "I am": the sign of the attitude to what follows, and the kind of trait.
ATTITUDES: Phrases[tuple[int, str]] = Phrases(
    {
        **dict.fromkeys(["allergic to", "intolerant to", "intolerant of"], (-1, "fact")),
        **dict.fromkeys(
            ["into", "a fan of", "a big fan of", "a huge fan of", "a massive fan of", "a great fan of", "fond of",
             "keen on", "crazy about", "passionate about", "obsessed with", "a lover of", "a big lover of",
             "comfortable with", "the biggest fan of", "a strong believer in", "big on", "addicted to"],
            (1, "preference"),
        ),
        **dict.fromkeys(
            ["afraid of", "scared of", "terrified of", "averse to", "opposed to", "against", "uncomfortable with",
             "wary of", "sceptical of", "skeptical of", "petrified of"],
            (-1, "preference"),
        ),
    }
)  # fmt: skip
#: Attitudes that only their denial makes lasting: "I'm interested in a used car" is an errand.
DENIED_ATTITUDES: Phrases[tuple[int, str]] = Phrases.of(["interested in | a fan of | comfortable"], (1, "preference"))
TOLERANT = Phrases.of(["fine with | ok with | okay with | happy with | cool with | good with | alright with"], True)
#: After "I have a(n) … <noun>": attitudes as nouns, and the words that may stand before them.
ATTITUDE_NOUNS = {
    "phobia": -1, "fear": -1, "aversion": -1, "dislike": -1, "distaste": -1, "hatred": -1, "disdain": -1, "allergy": -1,
    "intolerance": -1, "passion": 1, "love": 1, "preference": 1, "weakness": 1, "fondness": 1, "interest": 1,
    "sensitivity": -1, "objection": -1, "tooth": 1, "distrust": -1, "appreciation": 1,
}  # fmt: skip
OWNED = _words(
    "kid kids child children son sons daughter daughters dog dogs cat cats puppy puppies kitten",
    "kittens pet pets twins",
    "brother brothers sister sisters siblings horse horses rabbit rabbits parrot hamster husband",
    "wife boyfriend girlfriend",
    "diabetes asthma migraines insomnia eczema arthritis epilepsy celiac coeliac hypertension",
    "anxiety depression",
    "allergies ibs endometriosis grandchildren grandkids family car motorcycle baby toddler fiance partner",
    "degree phd mba masters",
)
ROLES = _words(
    "nurse doctor teacher lawyer chef cook student engineer programmer developer designer writer",
    "author artist musician",
    "singer actor actress dancer photographer painter journalist editor translator accountant",
    "banker economist analyst",
    "manager director consultant researcher scientist professor lecturer tutor librarian",
    "pharmacist dentist vet surgeon",
    "paramedic midwife carer caregiver therapist psychologist physiotherapist electrician plumber",
    "carpenter mechanic",
    "builder architect farmer gardener fisherman pilot driver waiter waitress bartender barista",
    "baker butcher cashier",
    "salesman saleswoman salesperson secretary receptionist firefighter soldier veteran policeman",
    "officer judge solicitor",
    "barrister entrepreneur freelancer contractor founder hairdresser tailor model coach trainer",
    "athlete runner cyclist",
    "swimmer climber gamer vegetarian vegan pescatarian omnivore flexitarian mother mom mum",
    "father dad parent grandmother",
    "grandfather widow widower homeowner landlord beginner novice introvert extrovert",
    "perfectionist minimalist",
    "pensioner retiree immigrant expat volunteer grad graduate undergraduate freshman sophomore postdoc",
    "nanny plumber welder trucker clerk administrator assistant technician programmer radiologist",
    "bookkeeper realtor",
    "twin pianist guitarist drummer bassist violinist composer producer filmmaker blogger streamer",
    "owl sysadmin devops biologist chemist physicist mathematician statistician historian philosopher",
    "biker collector hiker golfer foodie bookworm homebody workaholic smoker teetotaler",
    "teetotaller nerd geek",
    "drinker eater learner reader person speaker",
)
ROLE_ENDINGS = ("ologist", "ician", "ographer", "etarian", "ologer", "therapist")
#: Roles that say nothing without what stands before them ("a person", "a visual learner").
QUALIFIED_ROLES = _words("person learner reader eater drinker owl speaker model judge coach collector driver")
#: What "a(n) … person" may be.
PERSON_WORDS = _words(
    "morning night cat dog people private introverted visual outdoors indoor creative quiet competitive"
)
STATES = Phrases.of(
    [
        "vegan | vegetarian | pescatarian | diabetic | pregnant | coeliac | celiac",
        "lactose intolerant | gluten free",
        "gluten intolerant | retired | unemployed | self employed | married | divorced | widowed",
        "left handed | teetotal",
        "introverted | extroverted | asthmatic | anaemic | anemic | dairy free | hypertensive",
        "bilingual | shy",
        "prediabetic | keto | sober | colour blind | color blind | right handed | single",
        "an only child | insulin dependent",
    ],
    True,
)
MY_FACTS = Phrases.of(
    [
        "name | job | profession | occupation | native language | first language | mother tongue",
        "time zone | timezone",
        "major | hometown | home town | nationality | birthday | diet | partner | hobby | hobbies",
        "main hobby",
    ],
    True,
)

# -- what is not kept -----------------------------------------------------------------------------------------------

#: Religion, ethnicity, orientation, politics, unions, disability: protected wherever the word stands.
PROTECTED = _words(
    "muslim muslims islam islamic christian christians christianity jewish jew jews judaism hindu",
    "hinduism buddhist",
    "buddhism sikh catholic catholics protestant mormon mormons lds evangelical atheist atheism",
    "agnostic religious religion",
    "church mosque synagogue temple bible quran pray prayer worship god jesus allah gay lesbian",
    "bisexual queer",
    "asexual transgender nonbinary lgbt lgbtq lgbtqia homosexual heterosexual pansexual",
    "republican republicans democrat",
    "democrats socialist communist marxist labour tory tories libertarian vote voted voter voting",
    "union unions trump biden",
    "communism socialism feminist anarchist fascist disabled disability wheelchair deaf blind",
    "autistic autism dyslexic",
    "dyslexia adhd paraplegic amputee latino latina latinx hispanic caucasian aboriginal",
    "adventist pentecostal",
    "biracial gypsy roma neurodivergent asperger aspergers baptist methodist presbyterian",
    "lutheran anglican orthodox",
    "quaker pagan wiccan jehovah scientologist zionist pastor priest rabbi imam missionary",
    "ministry transsexual",
    "quadriplegic scripture scriptures unionist unionised unionized activist conservatives liberals faith",
)
#: Protected only as what somebody *is*: "I'm black", but not "I like black coffee".
PROTECTED_SELF = _words(
    "black white asian african arab indian chinese mexican brown mixed conservative liberal",
    "leftist straight bi",
    "trans",
)
