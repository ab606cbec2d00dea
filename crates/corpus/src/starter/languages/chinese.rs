//! Chinese (simplified).

use super::{Phrases, families};
use crate::starter::{Family, Language, grammar::Rule};

pub(super) const LANGUAGE: Language =
    Language { code: "zh", share: 2, families: &[FAMILIES], rules: &[RULES] };

const FAMILIES: &[Family] = &families(&Phrases {
    factual: &[
        "{lead}{guojia}的首都是哪里？{tail}",
        "{lead}{faming}是谁发明的？大概在哪一年？{tail}",
        "{lead}{guojia}用什么货币，讲什么语言？{tail}",
    ],
    translation: &[
        "请把这句话翻译成{yuyan}：“{beijing}”{tail}",
        "{lead}“{juzi}”用{yuyan}怎么说？{tail}",
        "请把写给 {firm} 的这封信翻译成{yuyan}： {beijing*2..4}{tail}",
    ],
    summarising: &[
        "请总结下面的内容： {beijing*4..9}{tail}",
        "{wenhou}能为{ren}总结一下吗？ {beijing*5..12}{tail}",
        "{beijing*3..7}\n\n请写一个总结。{tail}",
    ],
    rewriting: &[
        "请用{yuqi}语气改写：“{beijing*1..3}”{tail}",
        "{wenhou}请把这句话改短一点：“{beijing} {beijing}”{tail}",
    ],
    email: &[
        "{lead}给 {firm} 的 {person} 写一封邮件，{mudi}。{tail}",
        "{lead}请用{yuqi}语气回复 {surname} 的这封邮件：“{beijing*1..3}”{tail}",
    ],
    faq: &[
        "{lead}怎么{shouxu}？{tail}",
        "{lead}我的订单 {code} 还没有送到 {city}，现在在哪里？{tail}",
        "{lead}{gadget} 买了 {10..60} 天以后还能退货吗？{tail}",
    ],
    chit_chat: &[
        "{wenhou}你{xingqi}过得怎么样？{xinqing}",
        "{xinqing}{person}，你呢？",
        "{wenhou}给我讲一个关于{huati}的笑话吧。{xinqing}",
    ],
    cooking: &[
        "{lead}{shicai}、{shicai}和{shicai}可以做什么菜？{tail}",
        "{lead}请给我一个用{shicai}做的 {2..12} 人份食谱。{tail}",
    ],
    planning: &[
        "{lead}请安排一次去 {city} 的 {2..14} 天旅行{yaoqiu}。{tail}",
        "{lead}请为 {5..80} 人参加的{huodong}做一个计划{yaoqiu}{yaoqiu}。{tail}",
        "{lead}我想在 {3..20} 周内学会{huati}{yaoqiu}，请做一个计划。{tail}",
    ],
    arithmetic_story: &[
        "{lead}{person@p} 有 {12..95} 个{dongxi@t}。 {bu*1..3} 现在一共有多少个{dongxi@t}？{tail}",
        "{lead}{person@p} 买了 {12..95} 个{dongxi@t}，每个 {money} 元。 {bu*2..5} 还剩多少个？{tail}",
    ],
    code_script: &[
        "{lead}用 {script} 写一个函数，{renwu}。{tail}",
        "{lead}怎么用 {script} 写一个程序，先{renwu}，再{renwu}？{tail}",
    ],
    history_comparison: &[
        "{lead}比较{shidai}和{shidai}的原因、经过和结果。{tail}",
        "{lead}{shidai}之后，{huati}到 {year} 年有什么变化？{tail}",
    ],
    contract: &[
        "{lead}合同写着：“{tiaokuan*1..3}” {firm} 可以提前解约吗？{tail}",
        "{lead}根据这份合同，谁应承担责任？“{tiaokuan*2..4}”{tail}",
    ],
    logic_puzzle: &[
        "{lead}{person}、{person} 和 {person} 住在相邻的房子里。 {xiansuo*2..6} 谁住在中间？{tail}",
        "{lead}请解这个逻辑谜题。 {xiansuo*3..7} 哪句话一定是真的？{tail}",
    ],
});

const RULES: &[Rule] = &[
    (
        "tail",
        &[
            "",
            "",
            "",
            " {jianduan}",
            " {buzhou}",
            " {yanmi}",
            " {geshi}",
            " {xianzhi}",
            " {xianzhi} {geshi}",
            " 谢谢！",
        ],
    ),
    ("jianduan", &["只要答案。", "请简短回答。", "只要答案，不用解释。"]),
    ("buzhou", &["请一步一步解释。", "请一步一步写出思路。", "请逐步说明，一步一步来。"]),
    ("yanmi", &["请严格论证每个结论，并考虑所有特殊情况。", "请考虑所有特殊情况并严格论证。"]),
    ("geshi", &["结果用 JSON 返回。", "结果放在表格里。", "只用有效的 JSON 回答。"]),
    ("xianzhi", &["正好用 {3..7} 个要点。", "正好写 {40..120} 个字。", "正好写 {2..6} 句话。"]),
    ("lead", &["", "", "", "{wenhou}", "{wenhou}{yuanyin} ", "{yuanyin} ", "先说背景。 {beijing*2..6}\n\n"]),
    ("wenhou", &["你好！", "早上好，", "问一个小问题：", "打扰一下，", "晚上好！", "请问，"]),
    (
        "yuanyin",
        &[
            "{city} 的 {person} 想知道。",
            "{xingqi}我们聊到了这个。",
            "{huodong}需要用到。",
            "{firm} 没有人知道。",
            "我从{xingqi}一直想到现在。",
        ],
    ),
    (
        "beijing",
        &[
            "我们 {firm} 的团队春天搬到了 {city}。",
            "{person} {xingqi}打电话来问{huati}的事。",
            "预算是 {money} 元，但是还没有人签字。",
            "{xingqi}以来一直下雨，所以{huodong}推迟了。",
            "一共有 {3..40} 个人，大多来自 {city}。",
            "报告里两次提到{huati}。",
            "{person} 和 {person} 午饭时已经谈过了。",
            "我们用了一周就把 {gadget} 退了。",
        ],
    ),
    (
        "system",
        &["你是 {firm} 的客服助手。", "你帮助{ren}了解{huati}。", "今天是{xingqi}。请用{yuqi}语气回答。"],
    ),
    ("opening", &["能给我讲讲{huati}吗？", "你好，在吗？", "你了解 {city} 吗？"]),
    ("reply", &["当然可以。你想知道什么？", "在的。有什么可以帮你？", "好的，{person}，请问是什么问题？"]),
    ("xingqi", &["星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期天"]),
    (
        "guojia",
        &["葡萄牙", "肯尼亚", "日本", "加拿大", "芬兰", "埃及", "秘鲁", "挪威", "印度", "智利", "冰岛"],
    ),
    ("faming", &["电话", "拉链", "显微镜", "电灯泡", "自行车", "气压计", "洗碗机"]),
    ("yuyan", &["英语", "德语", "法语", "西班牙语", "意大利语", "日语"]),
    ("juzi", &["车站在哪里", "我对坚果过敏", "请给我两张{xingqi}的票", "我房间的灯坏了"]),
    ("ren", &["初学者", "孩子", "新同事", "老人", "学生", "家长"]),
    ("yuqi", &["礼貌的", "亲切的", "简洁的", "温暖的", "正式的", "轻松的"]),
    (
        "mudi",
        &[
            "把会议改到{xingqi}",
            "感谢他们送的花",
            "拒绝 {money} 元的报价",
            "邀请他们来 {city}",
            "投诉 {gadget}",
        ],
    ),
    ("shouxu", &["重设密码", "修改收货地址", "取消订阅", "下载发票", "更换 {gadget}", "注销账号"]),
    (
        "xinqing",
        &[
            "我在 {city} 好无聊。",
            "真盼着{xingqi}快点来！",
            "今天在 {firm} 上班好久。",
            "你喜欢{huati}吗？",
            "我每天都想吃{shicai}。",
            "又下雨了。",
        ],
    ),
    (
        "huati",
        &["太阳能", "火山", "象棋", "养蜂", "通货膨胀", "爵士乐", "做面包", "疫苗", "铁路", "垃圾分类"],
    ),
    ("shicai", &["米饭", "扁豆", "土豆", "豆腐", "鸡蛋", "蘑菇", "菠菜", "面条", "南瓜", "三文鱼"]),
    ("yaoqiu", &["", "", "，预算最多 {money} 元", "，不坐飞机", "，全程坐火车", "，{xingqi}要休息"]),
    ("huodong", &["婚礼", "培训班", "考试", "联欢会", "家长会", "知识竞赛"]),
    ("dongxi", &["苹果", "本子", "杯子", "箱子", "玻璃球", "贴纸", "气球", "橘子"]),
    (
        "bu",
        &[
            "然后送给 {person} {2..11} 个。",
            "然后又拿来 {2..9} 盒，每盒 {4..12} 个。",
            "然后路上丢了一半。",
            "然后增加 {3..19} 个，又坏了 {2..8} 个。",
        ],
    ),
    ("script", &["Python", "JavaScript", "Bash", "Ruby"]),
    (
        "renwu",
        &[
            "读取一个 CSV 文件",
            "去掉重复的行",
            "统计文章的字数",
            "按日期给照片改名",
            "合并两个有序列表",
            "每个{xingqi}发一次提醒",
        ],
    ),
    ("shidai", &["法国大革命", "罗马的灭亡", "工业革命", "冷战", "明治维新", "宗教改革", "大萧条"]),
    (
        "tiaokuan",
        &[
            "任何一方可提前 {30..90} 天书面通知解约。",
            "每次事故的赔偿以 {money} 元为限。",
            "{money} 元以下的维修由承租人承担。",
            "由 {city} 法院管辖。",
            "质保期为 {6..36} 个月。",
        ],
    ),
    (
        "xiansuo",
        &[
            "{person} 不住在 {person} 隔壁。",
            "喝茶的人不养狗。",
            "{person} 比 {person} 年长。",
            "只有一个人喜欢{shicai}。",
            "红房子在绿房子的左边。",
            "{person} 在{xingqi}总是说谎。",
        ],
    ),
];
